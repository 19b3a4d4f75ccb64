#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

#if defined(__x86_64__)
// Saves the registers that a callee keeps (System V ABI) on the old stack, and takes them from the new one. ucontext would do the same
// thirty times slower: it asks the kernel for the signal mask.
asm(R"(
.text
.globl cuda_emulator_switch
.hidden cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_emulator_switch, .-cuda_emulator_switch

.globl cuda_emulator_start
.hidden cuda_emulator_start
.type cuda_emulator_start, @function
cuda_emulator_start:
    movq %rbx, %rdi
    callq *%r12
    ud2
.size cuda_emulator_start, .-cuda_emulator_start
)");
extern "C" void cuda_emulator_switch(void** save, void* load);
extern "C" void cuda_emulator_start();
#endif

namespace cuda_emulator {

Fiber::Fiber(void (*body)(void*), void* argument) : body_(body), argument_(argument) {
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    // On a stack that nobody used.
    Unobserved unobserved;
    own_context_ = __tsan_create_fiber(0);
#endif
    void* memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<char*>(memory);
    // The lowest page is a guard: a kernel with too large local arrays ends the process here instead of damaging a neighbour.
    mprotect(stack_, 4096, PROT_NONE);
    restart();
}

Fiber::~Fiber() {
    munmap(stack_, stack_bytes);
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    __tsan_destroy_fiber(own_context_);
#endif
}

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
    // Bodies that return take their red zones with them, which is cheap; to clear a whole stack takes longer than most bodies.
    if (poisoned_) __asan_unpoison_memory_region(stack_ + 4096, stack_bytes - 4096);
    poisoned_ = true;
    own_fake_ = nullptr;
#endif
#if defined(__x86_64__)
    // What cuda_emulator_switch pops: r15 r14 r13 r12 rbx rbp, then the address to return to. cuda_emulator_start calls r12(rbx), so
    // the stack must be a multiple of 16 when it begins.
    void** top = reinterpret_cast<void**>(stack_ + stack_bytes - 16);
    *--top = reinterpret_cast<void*>(&cuda_emulator_start);
    *--top = nullptr;
    *--top = this;
    *--top = reinterpret_cast<void*>(&Fiber::start);
    for (int i = 0; i < 3; i++) *--top = nullptr;
    own_ = top;
#else
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_;
    own_.uc_stack.ss_size = stack_bytes;
    own_.uc_link = nullptr;
    uintptr_t self = reinterpret_cast<uintptr_t>(this);
    makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::start_context), 2, static_cast<unsigned>(self >> 16 >> 16),
                static_cast<unsigned>(self));
#endif
}

#if !defined(__x86_64__)
void Fiber::start_context(unsigned high, unsigned low) {
    start(reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 16 << 16) | low));
}
#endif

void Fiber::start(Fiber* self) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &self->scheduler_bottom_, &self->scheduler_size_);
#endif
    self->body_(self->argument_);
    self->poisoned_ = false;
    self->leave(true);
    abort();  // `leave(true)` doesn't return
}

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, stack_bytes);
#endif
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    scheduler_context_ = __tsan_get_current_fiber();
    // The switch itself must order nothing: on a GPU there is no scheduler that all threads pass through.
    __tsan_switch_to_fiber(own_context_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
    cuda_emulator_switch(&scheduler_, own_);
#else
    swapcontext(&scheduler_, &own_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::leave(bool finished) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(finished ? nullptr : &own_fake_, scheduler_bottom_, scheduler_size_);
#endif
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    __tsan_switch_to_fiber(scheduler_context_, __tsan_switch_to_fiber_no_sync);
#endif
    (void)finished;
#if defined(__x86_64__)
    cuda_emulator_switch(&own_, scheduler_);
#else
    swapcontext(&own_, &scheduler_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own_fake_, &scheduler_bottom_, &scheduler_size_);
#endif
}

void Fiber::release(char* object) {
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    __tsan_release(object);
#endif
    (void)object;
}

void Fiber::acquire(char* object) {
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    __tsan_acquire(object);
#endif
    (void)object;
}

#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
Unobserved::Unobserved() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Unobserved::~Unobserved() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
Unobserved::Unobserved() {}
Unobserved::~Unobserved() {}
#endif

}  // namespace cuda_emulator
