// The kernels of the host build: their names, what parameters they take, and how to call them with a driver's argument list.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cuda_emulator {

// What PTX tells of a parameter, too: `.f32` and `.f64` are numbers with a fraction, `.b8 name[24]` is a struct, all else is a word.
enum class Kind { word, pointer, real, bytes };

struct Parameter {
    size_t size;
    Kind kind;
};

struct HostKernel {
    std::string name;
    std::vector<Parameter> parameters;
    std::function<void(void* const*)> call;
};

std::vector<HostKernel>& host_kernels();

template <class T>
constexpr Parameter parameter_of() {
    return {sizeof(T), std::is_pointer<T>::value          ? Kind::pointer
                       : std::is_floating_point<T>::value ? Kind::real
                       : std::is_class<T>::value          ? Kind::bytes
                                                          : Kind::word};
}

// Enters one kernel into the table before `main` starts; its parameters come from the function's own type.
struct Registration {
    template <class... A>
    Registration(const char* name, void (*kernel)(A...)) {
        enter(name, kernel, std::index_sequence_for<A...>{});
    }

private:
    template <class... A, size_t... I>
    static void enter(const char* name, void (*kernel)(A...), std::index_sequence<I...>) {
        host_kernels().push_back({name, {parameter_of<A>()...}, [kernel](void* const* arguments) {
                                      (void)arguments;
                                      kernel(*static_cast<A*>(arguments[I])...);
                                  }});
    }
};

}  // namespace cuda_emulator
