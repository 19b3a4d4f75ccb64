#include "stream.h"

#include <cstdlib>
#include <cstring>
#include <set>

#include "failure.h"

namespace cuda_emulator {
namespace {

bool late() {
    static const bool late = [] {
        const char* value = getenv("CUDA_EMULATOR_STREAMS");
        if (value == nullptr || *value == 0 || strcmp(value, "eager") == 0) return false;
        if (strcmp(value, "late") == 0) return true;
        throw Failure(Code::invalid_value, text("CUDA_EMULATOR_STREAMS is `%s`, expected eager or late", value));
    }();
    return late;
}

std::set<Stream*>& streams() {
    static std::set<Stream*> streams;
    return streams;
}

// The default stream doesn't wait for other streams here: the rule of streams made with CU_STREAM_NON_BLOCKING.
Stream& default_stream() {
    static Stream* stream = create_stream();
    return *stream;
}

}  // namespace

Stream& stream_of(void* handle) {
    if (reinterpret_cast<uintptr_t>(handle) <= 2) return default_stream();
    auto stream = static_cast<Stream*>(handle);
    if (streams().count(stream) == 0) throw Failure(Code::invalid_handle, "a stream that doesn't exist");
    return *stream;
}

Stream* create_stream() { return *streams().insert(new Stream).first; }

void destroy_stream(void* handle) {
    Stream* stream = &stream_of(handle);
    finish(*stream);
    streams().erase(stream);
    delete stream;
}

void submit(Stream& stream, Work work) {
    if (stream.capture != nullptr) {
        stream.capture->work.push_back(std::move(work));
        return;
    }
    stream.pending.push_back(std::move(work));
    stream.submitted++;
    if (!late()) finish(stream);
}

void finish(Stream& stream, uint64_t position) {
    while (stream.done < position) {
        Work work = std::move(stream.pending.front());
        stream.pending.pop_front();
        stream.done++;
        work();
    }
}

void finish(Stream& stream) {
    if (stream.capture != nullptr) throw Failure(Code::capture_unsupported, "waiting for a stream that is being captured");
    finish(stream, stream.submitted);
}

void finish_all() {
    if (capture_forbids()) throw Failure(Code::capture_unsupported, "waiting for the device while a stream is being captured");
    for (Stream* stream : streams()) finish(*stream, stream->submitted);
}

bool capture_forbids() {
    for (Stream* stream : streams()) {
        if (stream->capture == nullptr || stream->mode == CaptureMode::relaxed) continue;
        if (stream->mode == CaptureMode::global || stream->capturing_thread == std::this_thread::get_id()) return true;
    }
    return false;
}

void record(Event& event, Stream& stream) {
    auto time = std::make_shared<std::chrono::steady_clock::time_point>();
    bool captured = stream.capture != nullptr;
    submit(stream, [time] { *time = std::chrono::steady_clock::now(); });
    event.mark = {&stream, stream.submitted, captured, time};
}

void wait(Stream& stream, const Event& event) {
    Mark mark = event.mark;
    if (mark.stream == nullptr) return;  // never recorded: nothing to wait for
    if (mark.captured != (stream.capture != nullptr) || (mark.captured && mark.stream != &stream))
        throw Failure(Code::capture_isolation, "waiting across the border of a capture; the emulator captures single streams only");
    if (mark.captured) return;
    submit(stream, [mark] {
        if (streams().count(mark.stream) != 0) finish(*mark.stream, mark.position);
    });
}

bool reached(const Event& event) {
    return event.mark.stream == nullptr || streams().count(event.mark.stream) == 0 || event.mark.stream->done >= event.mark.position;
}

void begin_capture(Stream& stream, CaptureMode mode) {
    const char* value = getenv("CUDA_EMULATOR_CAPTURE");
    if (value != nullptr && strcmp(value, "refuse") == 0) throw Failure(Code::not_supported, "this driver captures no streams, as CUDA_EMULATOR_CAPTURE says");
    if (value != nullptr && *value != 0 && strcmp(value, "allow") != 0)
        throw Failure(Code::invalid_value, text("CUDA_EMULATOR_CAPTURE is `%s`, expected allow or refuse", value));
    if (&stream == &default_stream()) throw Failure(Code::capture_unsupported, "the default stream can't be captured");
    if (stream.capture != nullptr) throw Failure(Code::invalid_value, "the stream is being captured already");
    stream.capture = std::make_unique<Graph>();
    stream.mode = mode;
    stream.capturing_thread = std::this_thread::get_id();
}

Graph* end_capture(Stream& stream) {
    if (stream.capture == nullptr) throw Failure(Code::invalid_value, "the stream is not being captured");
    return stream.capture.release();
}

void launch(const Graph& graph, Stream& stream) {
    for (const Work& work : graph.work) submit(stream, work);
}

}  // namespace cuda_emulator
