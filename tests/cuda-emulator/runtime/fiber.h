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
    void map_stack();
    void unmap_stack();
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
    // AddressSanitizer's fake stacks, and the scheduler's stack.
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
