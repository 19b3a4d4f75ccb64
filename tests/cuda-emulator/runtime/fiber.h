// A stack of its own for every CUDA thread, and the switch between it and the scheduler.
#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulator {

class Fiber {
public:
    static constexpr size_t stack_bytes = 256 * 1024;
    // Fibers that a CUDA thread needs, for blocks in turn. To ThreadSanitizer a fiber is one thread, whose accesses are ordered: only
    // blocks on different fibers can race. New fibers for every block would take most of the time; a few in turn miss nothing but
    // races of blocks that are all a multiple of so many apart.
#if defined(CUDA_EMULATOR_THREAD_SANITIZER)
    static constexpr size_t turns = 5;
#else
    static constexpr size_t turns = 1;
#endif

    explicit Fiber(void (*body)(void*), void* argument);
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Makes the next `enter` start at the beginning of the body, whatever the fiber was doing.
    void restart();
    // From the scheduler: runs the fiber until it calls `leave`.
    void enter();
    // From the fiber: back to the scheduler. `finished` if it will not be entered again before `restart`.
    void leave(bool finished);
    // From the fiber. ThreadSanitizer: what threads did before `release` of an object is seen by those that `acquire` it.
    static void release(char* object);
    static void acquire(char* object);

private:
    static void start(Fiber* self);
#if !defined(__x86_64__)
    static void start_context(unsigned high, unsigned low);
#endif

    void (*body_)(void*);
    void* argument_;
    char* stack_ = nullptr;
#if defined(__x86_64__)
    void* own_ = nullptr;
    void* scheduler_ = nullptr;
#else
    ucontext_t own_, scheduler_;
#endif
    // AddressSanitizer: whether the stack may have red zones of a body that was abandoned, or of what was there before.
    bool poisoned_ = true;
    // Its fake stacks, and the scheduler's stack.
    void* own_fake_ = nullptr;
    const void* scheduler_bottom_ = nullptr;
    size_t scheduler_size_ = 0;
    // ThreadSanitizer's contexts.
    void* own_context_ = nullptr;
    void* scheduler_context_ = nullptr;
};

// ThreadSanitizer: memory that is allocated inside is new to it, so that what a fiber did in the same place before is forgotten.
class Unobserved {
public:
    Unobserved();
    ~Unobserved();
};

}  // namespace cuda_emulator
