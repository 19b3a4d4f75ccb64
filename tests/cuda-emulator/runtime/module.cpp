#include "module.h"

#include <cctype>
#include <cstdlib>
#include <cstring>

#include "failure.h"

namespace cuda_emulator {
namespace {

// Words, numbers and single punctuation marks, without comments. A directive keeps its dot: `.param`.
std::vector<std::string> tokens(const char* at) {
    std::vector<std::string> result;
    auto in_word = [](char c) { return isalnum(static_cast<unsigned char>(c)) || strchr("_$.%", c) != nullptr; };
    while (*at != 0) {
        if (isspace(static_cast<unsigned char>(*at))) {
            at++;
        } else if (at[0] == '/' && at[1] == '/') {
            while (*at != 0 && *at != '\n') at++;
        } else if (at[0] == '/' && at[1] == '*') {
            const char* end = strstr(at, "*/");
            at = end == nullptr ? at + strlen(at) : end + 2;
        } else if (in_word(*at)) {
            const char* start = at;
            while (*at != 0 && in_word(*at)) at++;
            result.emplace_back(start, at);
        } else {
            result.emplace_back(1, *at++);
        }
    }
    return result;
}

// `.f32` is 4 bytes; 0 for what is no type.
size_t bytes_of_type(const std::string& token) {
    if (token.size() < 3 || token[0] != '.' || strchr("bsuf", token[1]) == nullptr) return 0;
    int bits = atoi(token.c_str() + 2);
    return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
}

std::string describe(const Parameter& parameter) {
    const char* kind = parameter.kind == Kind::bytes ? "struct" : parameter.kind == Kind::real ? "floating point" : "integer or pointer";
    return text("%s of %zu bytes", kind, parameter.size);
}

bool same(const Parameter& ptx, const Parameter& host) {
    Kind kind = host.kind == Kind::pointer ? Kind::word : host.kind;
    return ptx.size == host.size && ptx.kind == kind;
}

}  // namespace

Module* load_module(const char* image, int driver_version, int compute_capability) {
    std::vector<std::string> words = tokens(image);
    if (words.size() < 4 || words[0] != ".version" || words[2] != ".target")
        throw Failure(Code::invalid_image, "the image is not PTX: it doesn't begin with `.version` and `.target`, and the emulator reads nothing else");
    // CUDA 12.0 writes 8.0, 12.9 writes 8.8, and neither driver reads what is newer; nor do those between them, one by one.
    int version = 10 * atoi(words[1].c_str()) + atoi(words[1].c_str() + words[1].find('.') + 1);
    int newest = driver_version >= 12090 ? 88 : driver_version >= 12000 ? 80 : 75;
    if (version > newest)
        throw Failure(Code::unsupported_ptx_version, text("PTX %s; a driver of version %d knows at most %d.%d", words[1].c_str(), driver_version, newest / 10, newest % 10));
    if (words[3].rfind("sm_", 0) != 0 || atoi(words[3].c_str() + 3) > compute_capability)
        throw Failure(Code::no_binary_for_gpu, text("PTX for %s; the device is sm_%d", words[3].c_str(), compute_capability));
    auto module = new Module;
    Entry* entry = nullptr;
    for (size_t i = 0; i + 1 < words.size(); i++) {
        if (words[i] == ".entry") {
            entry = &module->entries[words[i + 1]];
            i += 2;
            for (; i < words.size() && words[i] != ")" && words[i] != "{"; i++) {
                if (words[i] != ".param") continue;
                Parameter parameter{0, Kind::word};
                for (i++; i < words.size() && words[i] != "," && words[i] != ")"; i++) {
                    if (size_t bytes = bytes_of_type(words[i])) parameter = {bytes, words[i][1] == 'f' ? Kind::real : Kind::word};
                    if (words[i] == "[") parameter = {parameter.size * strtoull(words[i + 1].c_str(), nullptr, 10), Kind::bytes};
                }
                entry->parameters.push_back(parameter);
                if (words[i] == ")") break;
            }
        } else if (entry != nullptr && words[i] == ".maxntid") {
            unsigned long long threads = strtoull(words[i + 1].c_str(), nullptr, 10);
            for (i += 2; i + 1 < words.size() && words[i] == ","; i += 2) threads *= strtoull(words[i + 1].c_str(), nullptr, 10);
            entry->max_threads = threads;
            i--;
        }
    }
    return module;
}

Function* get_function(Module& module, const char* name) {
    auto known = module.functions.find(name);
    if (known != module.functions.end()) return &known->second;
    auto entry = module.entries.find(name);
    if (entry == module.entries.end()) throw Failure(Code::not_found, text("the PTX has no kernel `%s`", name));
    const HostKernel* kernel = nullptr;
    for (const HostKernel& candidate : host_kernels())
        if (candidate.name == name) kernel = &candidate;
    if (kernel == nullptr) throw Failure(Code::not_found, text("kernel `%s` is in the PTX but not in the sources: the PTX is stale", name));
    const std::vector<Parameter>&ptx = entry->second.parameters, &host = kernel->parameters;
    if (ptx.size() != host.size())
        throw Failure(Code::invalid_image, text("kernel `%s`: %zu parameters in the PTX, %zu in the source: the PTX is stale", name, ptx.size(), host.size()));
    for (size_t i = 0; i < ptx.size(); i++)
        if (!same(ptx[i], host[i]))
            throw Failure(Code::invalid_image, text("kernel `%s`, parameter %zu: %s in the PTX, %s in the source: the PTX is stale", name, i,
                                                    describe(ptx[i]).c_str(), describe(host[i]).c_str()));
    return &module.functions.emplace(name, Function{kernel, entry->second.max_threads, 48 * 1024}).first->second;
}

}  // namespace cuda_emulator
