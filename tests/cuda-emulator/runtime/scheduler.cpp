#include "scheduler.h"

#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "failure.h"
#include "fiber.h"
#include "mma.h"
#include "shim.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulator {
namespace {

constexpr size_t warp_size = 32;
// What a block may have without `cuFuncSetAttribute`, on every card.
constexpr size_t static_shared_limit = 48 * 1024;

// The order in which threads run between two barriers, and blocks after each other: CUDA promises none.
struct Order {
    enum { forward, reverse, random } kind = forward;
    uint64_t seed = 0;
    std::string name = "forward";

    Order() {
        const char* value = getenv("CUDA_EMULATOR_ORDER");
        if (value == nullptr || *value == 0) return;
        name = value;
        if (name == "forward") {
            kind = forward;
        } else if (name == "reverse") {
            kind = reverse;
        } else if (name.rfind("random:", 0) == 0) {
            kind = random;
            seed = strtoull(value + 7, nullptr, 10);
        } else {
            throw Failure(Code::invalid_value, "CUDA_EMULATOR_ORDER is `" + name + "`, expected forward, reverse or random:SEED");
        }
    }

    // splitmix64 (Steele, Lea, Flood 2014).
    uint64_t next() {
        uint64_t z = seed += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

    void arrange(std::vector<unsigned>& items) {
        std::iota(items.begin(), items.end(), 0u);
        for (size_t i = items.size(); kind == reverse && i > items.size() / 2; i--) std::swap(items[i - 1], items[items.size() - i]);
        for (size_t i = items.size(); kind == random && i > 1; i--) std::swap(items[i - 1], items[next() % i]);
    }
};

Order& order() {
    static Order order;
    return order;
}

enum class State { ready, at_barrier, in_warp, finished, trapped };

struct Thread {
    std::unique_ptr<Fiber> fibers[Fiber::turns];
    // The one of them whose turn it is.
    Fiber* fiber = nullptr;
    State state = State::ready;
    uint3 index{};
    // How many barriers of the block and of the warp it has come to.
    unsigned block_barriers = 0, warp_barriers = 0;
    // Where it waits, and what for.
    const char* file = nullptr;
    int line = 0;
    BlockOp block_op{};
    WarpOp warp_op{};
    unsigned mask = 0;
    int source = 0;
    uint64_t value = 0;
    uint64_t result = 0;
};


// One grid at a time: the kernels' `threadIdx` and the like are global, and the driver holds a lock around a launch.
struct Grid {
    const HostKernel* kernel = nullptr;
    void* const* arguments = nullptr;
    std::vector<Thread> threads;
    size_t count = 0;
    size_t current = 0;
    std::string trapped;
    // Shared memory of the block.
    unsigned long long block = 0;
    std::vector<void*> shared;
    size_t shared_bytes = 0;
    void* dynamic = nullptr;
    // Objects for ThreadSanitizer, never shared by two blocks: of the block's barrier, and of each warp's. Two of each, used in turn:
    // a thread that leaves a barrier must not see what faster ones did on their way to the next.
    std::vector<char> objects;
    char start[8], end[8];
};
Grid grid_state;

std::string place(const Thread& thread) {
    return text("thread (%u,%u,%u) at %s:%d", thread.index.x, thread.index.y, thread.index.z, thread.file, thread.line);
}

std::string name_of(const Thread& thread) {
    return text("thread (%u,%u,%u)", thread.index.x, thread.index.y, thread.index.z);
}

// Names of files are nearly always the same pointer: comparing the text took most of the time of shuffles.
bool same_place(const Thread& a, const Thread& b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

[[noreturn]] void fail(Code code, const std::string& what) {
    throw Failure(code, text("kernel `%s`, block (%u,%u,%u), thread order %s: ", grid_state.kernel->name.c_str(), blockIdx.x, blockIdx.y,
                             blockIdx.z, order().name.c_str()) +
                            what);
}

void thread_body(void* argument) {
    Grid& grid = *static_cast<Grid*>(argument);
    Fiber::acquire(grid.start);
    grid.kernel->call(grid.arguments);
    Fiber::release(grid.end);
    grid.threads[grid.current].state = State::finished;
}

// `barrier`: 0 for the block's, 1 + w for that of warp w. `count`: how many the thread has come to before.
char* object(Grid& grid, size_t barrier, unsigned count) { return grid.objects.data() + 8 * (2 * barrier + count % 2); }

void enter(Grid& grid, size_t thread) {
    grid.current = thread;
    threadIdx = grid.threads[thread].index;
    grid.threads[thread].fiber->enter();
}

// `mma.sync` of a warp whose first thread is `first`: each lane's value is the address of what it has of the matrices.
void multiply_matrices(Grid& grid, size_t first, size_t lanes) {
    const MmaLane* fragments[warp_size];
    const Thread* threads = grid.threads.data() + first;
    if (lanes < warp_size) fail(Code::launch_failed, text("mma.sync in a warp of %zu lanes, it takes all 32: ", lanes) + place(*threads));
    for (size_t i = 0; i < warp_size; i++) {
        fragments[i] = reinterpret_cast<const MmaLane*>(threads[i].value);
        if (const float* wrong = not_tf32(*fragments[i]))
            fail(Code::launch_failed, text("mma.sync multiplies %.9g, which is no TF32 number (cvt.rna.tf32.f32 makes one): ", *wrong) + place(threads[i]));
    }
    multiply_add(fragments);
}

// A warp operation happens when all lanes of its mask are there; until then nothing does.
void complete_warp(Grid& grid, size_t warp) {
    size_t first = warp * warp_size, lanes = std::min(warp_size, grid.count - first);
    const Thread* arrived = nullptr;
    for (size_t i = 0; i < lanes && arrived == nullptr; i++)
        if (grid.threads[first + i].state == State::in_warp) arrived = &grid.threads[first + i];
    if (arrived == nullptr) return;
    unsigned mask = arrived->mask;
    for (size_t i = 0; i < lanes; i++) {
        const Thread& lane = grid.threads[first + i];
        bool named = (mask >> i & 1) != 0;
        if (lane.state == State::in_warp) {
            if (!(lane.mask >> i & 1)) fail(Code::launch_failed, "the mask of a warp operation lacks its own lane: " + place(lane));
            // Lanes outside the mask may be in an operation of their own.
            if (!named) continue;
            if (lane.mask != mask) fail(Code::launch_failed, "lanes with different masks: " + place(*arrived) + ", " + place(lane));
            if (!same_place(lane, *arrived) || lane.warp_op != arrived->warp_op)
                fail(Code::launch_failed, "a warp diverges, two operations wait for each other: " + place(*arrived) + ", " + place(lane));
        } else if (named) {
            if (lane.state == State::finished)
                fail(Code::launch_failed, place(*arrived) + " waits in a warp operation for " + name_of(lane) + ", which has returned");
            return;
        }
    }
    if (arrived->warp_op == WarpOp::mma) multiply_matrices(grid, first, lanes);
    uint64_t ballot = 0;
    for (size_t i = 0; i < lanes; i++)
        if ((mask >> i & 1) && grid.threads[first + i].value != 0) ballot |= 1ull << i;
    for (size_t i = 0; i < lanes; i++) {
        Thread& lane = grid.threads[first + i];
        if (!(mask >> i & 1)) continue;
        bool readable = lane.source < static_cast<int>(lanes) && (mask >> lane.source & 1);
        // A lane that isn't there has no value; CUDA says "undefined", this is NaN.
        lane.result = lane.warp_op != WarpOp::shuffle ? ballot : readable ? grid.threads[first + lane.source].value : ~0ull;
        lane.state = State::ready;
    }
}

// Called when no thread can go on: all wait at one barrier, or the kernel has a bug.
void complete_barrier(Grid& grid) {
    const Thread* waits = nullptr;
    for (size_t i = 0; i < grid.count; i++) {
        const Thread& thread = grid.threads[i];
        if (thread.state == State::in_warp) fail(Code::launch_failed, place(thread) + " waits in a warp operation for lanes that wait elsewhere");
        if (thread.state == State::at_barrier && waits == nullptr) waits = &thread;
    }
    uint64_t votes = 0;
    for (size_t i = 0; i < grid.count; i++) {
        const Thread& thread = grid.threads[i];
        if (thread.state == State::finished)
            fail(Code::launch_failed, "barrier divergence: " + place(*waits) + " waits for " + name_of(thread) + ", which has returned");
        if (!same_place(thread, *waits) || thread.block_op != waits->block_op)
            fail(Code::launch_failed, "barrier divergence: " + place(*waits) + " and " + place(thread) + " wait at different barriers");
        votes += thread.value;
    }
    for (size_t i = 0; i < grid.count; i++) {
        Thread& thread = grid.threads[i];
        thread.result = thread.block_op == BlockOp::all ? votes == grid.count : thread.block_op == BlockOp::any ? votes > 0 : votes;
        thread.state = State::ready;
    }
}

void free_shared(Grid& grid) {
    Unobserved unobserved;
    for (void* memory : grid.shared) free(memory);
    grid.shared.clear();
    grid.shared_bytes = 0;
    grid.dynamic = nullptr;
}

void* allocate_shared(Grid& grid, size_t bytes, size_t alignment) {
    Unobserved unobserved;
    void* memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<size_t>(bytes, 1)) != 0) throw std::bad_alloc();
    memset(memory, 0xff, bytes);
    grid.shared.push_back(memory);
    grid.shared_bytes += bytes;
    return memory;
}

void run_block(Grid& grid, Extent block, size_t dynamic_bytes) {
    grid.block++;
    if (dynamic_bytes > 0) grid.dynamic = allocate_shared(grid, dynamic_bytes, 16);
    size_t warps = (grid.count + warp_size - 1) / warp_size;
    {
        Unobserved unobserved;
        std::vector<char>(8 * 2 * (1 + warps)).swap(grid.objects);
    }
    for (unsigned i = 0; i < grid.count; i++) {
        Thread& thread = grid.threads[i];
        thread.state = State::ready;
        thread.block_barriers = thread.warp_barriers = 0;
        thread.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        std::unique_ptr<Fiber>& fiber = thread.fibers[grid.block % Fiber::turns];
        if (fiber == nullptr) fiber = std::make_unique<Fiber>(thread_body, &grid);
        thread.fiber = fiber.get();
        thread.fiber->restart();
    }
    std::vector<unsigned> sequence(grid.count);
    order().arrange(sequence);
    size_t finished = 0;
    while (finished < grid.count) {
        bool progress = false;
        for (unsigned i : sequence) {
            Thread& thread = grid.threads[i];
            if (thread.state != State::ready) continue;
            enter(grid, i);
            progress = true;
            if (thread.state == State::trapped) fail(Code::launch_failed, name_of(thread) + ": " + grid.trapped);
            if (thread.state == State::finished) finished++;
            if (thread.state == State::in_warp || thread.state == State::finished) complete_warp(grid, i / warp_size);
        }
        if (!progress) complete_barrier(grid);
        if (order().kind == Order::random) order().arrange(sequence);
    }
    if (grid.shared_bytes - dynamic_bytes > static_shared_limit)
        fail(Code::launch_out_of_resources, text("%zu bytes of static shared memory, at most %zu", grid.shared_bytes - dynamic_bytes, static_shared_limit));
    free_shared(grid);
}

// Leaves the current fiber until the scheduler has an answer for it.
uint64_t wait(Grid& grid, State state, const char* file, int line, char* object) {
    Thread& thread = grid.threads[grid.current];
    thread.state = state;
    thread.file = file;
    thread.line = line;
    if (object != nullptr) Fiber::release(object);
    thread.fiber->leave(false);
    if (object != nullptr) Fiber::acquire(object);
    return thread.result;
}

}  // namespace

void run_grid(const HostKernel& kernel, void* const* arguments, Extent extent, Extent block, size_t shared_bytes) {
    Grid& grid = grid_state;
    grid.kernel = &kernel;
    grid.arguments = arguments;
    grid.count = block.count();
    gridDim = {extent.x, extent.y, extent.z};
    blockDim = {block.x, block.y, block.z};
    // An earlier grid may have failed half way.
    free_shared(grid);
    if (grid.threads.size() < grid.count) grid.threads.resize(grid.count);
    std::vector<unsigned> blocks(extent.count());
    order().arrange(blocks);
    Fiber::release(grid.start);
    for (unsigned b : blocks) {
        blockIdx = {b % extent.x, b / extent.x % extent.y, b / extent.x / extent.y};
        run_block(grid, block, shared_bytes);
    }
    Fiber::acquire(grid.end);
}

void* SharedSlot::get(size_t bytes, size_t alignment) {
    if (block != grid_state.block) {
        memory = allocate_shared(grid_state, bytes, alignment);
        block = grid_state.block;
    }
    return memory;
}

void* dynamic_shared() { return grid_state.dynamic; }

unsigned lane() { return grid_state.current % warp_size; }

int block_wait(BlockOp op, int predicate, const char* file, int line) {
    Grid& grid = grid_state;
    Thread& thread = grid.threads[grid.current];
    thread.block_op = op;
    thread.value = predicate;
    return static_cast<int>(wait(grid, State::at_barrier, file, line, object(grid, 0, thread.block_barriers++)));
}

uint64_t warp_wait(WarpOp op, unsigned mask, uint64_t value, int source, const char* file, int line) {
    Grid& grid = grid_state;
    Thread& thread = grid.threads[grid.current];
    thread.warp_op = op;
    thread.mask = mask;
    thread.value = value;
    thread.source = source;
    // Shuffles and votes exchange registers; only `__syncwarp` orders memory.
    char* barrier = op == WarpOp::sync ? object(grid, 1 + grid.current / warp_size, thread.warp_barriers++) : nullptr;
    return wait(grid, State::in_warp, file, line, barrier);
}

void trap(const char* what, const char* file, int line) {
    Grid& grid = grid_state;
    grid.trapped = text("%s at %s:%d", what, file, line);
    grid.threads[grid.current].state = State::trapped;
    grid.threads[grid.current].fiber->leave(true);
    abort();  // never entered again
}

std::vector<HostKernel>& host_kernels() {
    static std::vector<HostKernel> kernels;
    return kernels;
}

std::string text(const char* format, ...) {
    va_list arguments, copy;
    va_start(arguments, format);
    va_copy(copy, arguments);
    std::string result(vsnprintf(nullptr, 0, format, copy), 0);
    va_end(copy);
    vsnprintf(&result[0], result.size() + 1, format, arguments);
    va_end(arguments);
    return result;
}

}  // namespace cuda_emulator
