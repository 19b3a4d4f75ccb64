// Streams, events and graphs: lists of work to be done.
//
// Work is done at once, or with CUDA_EMULATOR_STREAMS=late only when the host waits for it: the two ends of what a GPU may do. Code
// that forgets to wait is right in the first and wrong in the second.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace cuda_emulator {

using Work = std::function<void()>;

struct Graph {
    std::vector<Work> work;
};

// Whose calls that might wait for a stream, or allocate, are an error while it is being captured, by the numbers of
// `CUstreamCaptureMode`: those of all threads, of the thread that began it, or of none.
enum class CaptureMode { global, thread_local_, relaxed };

struct Stream {
    std::deque<Work> pending;
    uint64_t submitted = 0;
    uint64_t done = 0;
    std::unique_ptr<Graph> capture;
    CaptureMode mode = CaptureMode::global;
    std::thread::id capturing_thread;
};

struct Mark {
    Stream* stream = nullptr;
    uint64_t position = 0;
    // Recorded while the stream was being captured: part of a graph, never reached by itself.
    bool captured = false;
    std::shared_ptr<std::chrono::steady_clock::time_point> time;
};

struct Event {
    Mark mark;
};

// A handle of the driver: null and the two special values are the default stream. Throws for one that was destroyed.
Stream& stream_of(void* handle);
Stream* create_stream();
void destroy_stream(void* handle);

void submit(Stream& stream, Work work);
// Does the stream's work up to `position`.
void finish(Stream& stream, uint64_t position);
void finish(Stream& stream);
void finish_all();
// Whether a capture forbids this thread to wait for the device or to allocate.
bool capture_forbids();

void record(Event& event, Stream& stream);
void wait(Stream& stream, const Event& event);
bool reached(const Event& event);
void begin_capture(Stream& stream, CaptureMode mode);
Graph* end_capture(Stream& stream);
void launch(const Graph& graph, Stream& stream);

}  // namespace cuda_emulator
