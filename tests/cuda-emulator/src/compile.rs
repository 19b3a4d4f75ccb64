//! Builds the library with g++.

use std::{
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
};

use crate::{Error, Result, rewrite::rewrite};

const RUNTIME: [(&str, &str); 16] = [
    ("driver.cpp", include_str!("../runtime/driver.cpp")),
    ("failure.h", include_str!("../runtime/failure.h")),
    ("fiber.cpp", include_str!("../runtime/fiber.cpp")),
    ("fiber.h", include_str!("../runtime/fiber.h")),
    ("kernel_table.h", include_str!("../runtime/kernel_table.h")),
    ("memory.cpp", include_str!("../runtime/memory.cpp")),
    ("memory.h", include_str!("../runtime/memory.h")),
    ("mma.cpp", include_str!("../runtime/mma.cpp")),
    ("mma.h", include_str!("../runtime/mma.h")),
    ("module.cpp", include_str!("../runtime/module.cpp")),
    ("module.h", include_str!("../runtime/module.h")),
    ("scheduler.cpp", include_str!("../runtime/scheduler.cpp")),
    ("scheduler.h", include_str!("../runtime/scheduler.h")),
    ("shim.h", include_str!("../runtime/shim.h")),
    ("stream.cpp", include_str!("../runtime/stream.cpp")),
    ("stream.h", include_str!("../runtime/stream.h")),
];

/// What checks the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The emulator's own checks.
    Plain,
    /// Also GCC's AddressSanitizer: every access to global, shared and local memory must be inside its array. About 2
    /// times slower.
    AddressSanitizer,
    /// Also GCC's ThreadSanitizer: no two threads may access the same memory, if one writes, without a barrier or
    /// atomic in between. About 65 times slower: for tiny shapes.
    ThreadSanitizer,
}

impl Mode {
    fn kernel_flags(self) -> &'static [&'static str] {
        match self {
            Mode::Plain => &[],
            // A GPU refuses misaligned float4 accesses; the host may accept them.
            Mode::AddressSanitizer => {
                &["-fsanitize=address,alignment", "-fno-sanitize-recover=alignment", "-fno-omit-frame-pointer"]
            }
            Mode::ThreadSanitizer => &["-fsanitize=thread", "-fno-omit-frame-pointer"],
        }
    }

    /// The scheduler switches stacks and writes `threadIdx` for all threads. ThreadSanitizer must not see that.
    fn runtime_flags(self) -> &'static [&'static str] {
        match self {
            Mode::Plain => &[],
            Mode::AddressSanitizer => &["-fsanitize=address"],
            Mode::ThreadSanitizer => &["-DCUDA_EMULATOR_THREAD_SANITIZER"],
        }
    }

    fn sanitizer_library(self) -> Option<&'static str> {
        match self {
            Mode::Plain => None,
            Mode::AddressSanitizer => Some("libasan.so"),
            Mode::ThreadSanitizer => Some("libtsan.so"),
        }
    }
}

/// A built `libcuda.so.1`.
#[derive(Clone, Debug)]
pub struct Emulator {
    pub(crate) directory: PathBuf,
    pub(crate) mode: Mode,
    /// The sanitizer's runtime, which must be loaded before the program.
    pub(crate) preload: Option<PathBuf>,
    kernels: Vec<String>,
}

impl Emulator {
    /// Compiles the kernels in `sources` (with `defines`, as `NAME=VALUE`) and the driver into `libcuda.so.1` in a
    /// folder below `cache`; or reuses the library of an earlier call with the same content. A test's `cache` is its
    /// `CARGO_TARGET_TMPDIR`. Takes a few seconds.
    ///
    /// # Errors
    /// If g++ is missing or refuses a source, if a source contains something that the emulator can't express, or if a
    /// file can't be read or written.
    pub fn build(sources: &[PathBuf], defines: &[&str], mode: Mode, cache: &Path) -> Result<Emulator> {
        let preload = match mode.sanitizer_library() {
            None => None,
            Some(library) => {
                let output = gxx(&["-print-file-name=".to_string() + library], &[])?;
                let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
                // If g++ doesn't have the library, it prints the bare name.
                let found = path.canonicalize().map_err(|error| Error::File { path, error })?;
                Some(found)
            }
        };
        let defines: Vec<String> = defines.iter().map(|define| format!("-D{define}")).collect();
        let mut units = Vec::new();
        for path in sources {
            units.push(Unit::read(path, &defines, mode == Mode::Plain)?);
        }
        let mut hasher = DefaultHasher::new();
        (mode, RUNTIME, &units, flags(&[])).hash(&mut hasher);
        let directory = cache.join(format!("cuda-emulator-{:016x}", hasher.finish()));
        let kernels = units.iter().flat_map(|unit| unit.kernels.iter().cloned()).collect();
        let emulator = Emulator { directory, mode, preload, kernels };
        if !emulator.library().is_file() {
            emulator.compile_once(&units, cache)?;
        }
        Ok(emulator)
    }

    /// The folder of the library, which a program's `LD_LIBRARY_PATH` must begin with.
    pub fn folder(&self) -> &Path {
        &self.directory
    }

    /// The library.
    pub fn library(&self) -> PathBuf {
        self.directory.join("libcuda.so.1")
    }

    /// The names of the kernels in it.
    pub fn kernels(&self) -> &[String] {
        &self.kernels
    }

    /// Compiles under a lock: several tests and test programs may want the same library at once.
    fn compile_once(&self, units: &[Unit], cache: &Path) -> Result<()> {
        let path = cache.join("cuda-emulator.lock");
        let file_error = |error| Error::File { path: path.clone(), error };
        let lock = fs::File::create(&path).map_err(file_error)?;
        lock.lock().map_err(file_error)?;
        if !self.library().is_file() {
            self.compile(units)?;
        }
        Ok(())
    }

    /// Compiles in a folder that is renamed when it is complete: an interrupted build leaves no library.
    fn compile(&self, units: &[Unit]) -> Result<()> {
        let work = self.directory.with_extension("work");
        fs::create_dir_all(&work).map_err(|error| Error::File { path: work.clone(), error })?;
        let mut jobs = Vec::new();
        for (name, text) in RUNTIME {
            write(&work.join(name), text)?;
            if name.ends_with(".cpp") {
                jobs.push(Job {
                    source: work.join(name),
                    shown: PathBuf::from(name),
                    flags: self.mode.runtime_flags(),
                });
            }
        }
        for (i, unit) in units.iter().enumerate() {
            let source = work.join(format!("kernels-{i}.cpp"));
            write(&source, &unit.text)?;
            jobs.push(Job { source, shown: unit.path.clone(), flags: self.mode.kernel_flags() });
        }
        let objects: Vec<String> =
            jobs.iter().map(|job| job.source.with_extension("o").to_string_lossy().into_owned()).collect();
        compile_all(jobs)?;
        let mut link = vec![
            "-shared".to_string(),
            "-pthread".to_string(),
            "-Wl,-soname,libcuda.so.1".to_string(),
            "-o".to_string(),
        ];
        link.push(work.join("libcuda.so.1").to_string_lossy().into_owned());
        link.extend(objects);
        let output = gxx(&link, self.mode.kernel_flags())?;
        check(&output, &work.join("libcuda.so.1"))?;
        fs::rename(&work, &self.directory).map_err(|error| Error::File { path: self.directory.clone(), error })?;
        Ok(())
    }
}

/// All `.cu` files in a folder and the folders in it, sorted. Their paths are the same however the folder is named, so
/// that all who build an emulator of them share its library.
///
/// # Errors
/// If a folder can't be read.
pub fn sources_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let error = |error| Error::File { path: directory.to_path_buf(), error };
    let directory = &directory.canonicalize().map_err(error)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            found.extend(sources_in(&path)?);
        } else if path.extension() == Some(OsStr::new("cu")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// One kernel source, ready for the host compiler.
#[derive(Hash)]
struct Unit {
    path: PathBuf,
    text: String,
    kernels: Vec<String>,
}

impl Unit {
    /// `unroll`: whether to unroll loops as the source says. With a sanitizer's checks, unrolled loops take ten times
    /// as long to compile.
    fn read(path: &Path, defines: &[String], unroll: bool) -> Result<Unit> {
        // Without the shim: its macros would hide what is rewritten. `-nostdinc`: NVRTC has no system headers either.
        let mut arguments: Vec<String> =
            ["-E", "-nostdinc", "-std=c++17", "-x", "c++", "-DCUDA_EMULATOR"].map(str::to_string).to_vec();
        arguments.extend_from_slice(defines);
        arguments.push(path.to_string_lossy().into_owned());
        let output = gxx(&arguments, &[])?;
        check(&output, path)?;
        let source = |message| Error::Source { path: path.to_path_buf(), message };
        let rewritten = rewrite(&String::from_utf8_lossy(&output.stdout), unroll).map_err(source)?;
        let mut text = format!("#include \"shim.h\"\n{}\n", rewritten.text);
        text += "namespace {\nconst cuda_emulator::Registration cuda_emulator_kernels[] = {\n";
        for kernel in &rewritten.kernels {
            text += &format!("    {{\"{kernel}\", &{kernel}}},\n");
        }
        text += "};\n}  // namespace\n";
        if rewritten.kernels.is_empty() {
            return Err(source("no `__global__` function in it".to_string()));
        }
        Ok(Unit { path: path.to_path_buf(), text, kernels: rewritten.kernels })
    }
}

struct Job {
    source: PathBuf,
    shown: PathBuf,
    flags: &'static [&'static str],
}

/// Compiles as many at a time as there are processors.
fn compile_all(jobs: Vec<Job>) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    std::thread::scope(|scope| {
        let worker = || {
            while let Some(job) = next() {
                let object = job.source.with_extension("o");
                let paths = [&job.source, &object].map(|path| path.to_string_lossy().into_owned());
                let mut arguments = flags(job.flags);
                arguments.extend(["-c".to_string(), paths[0].clone(), "-o".to_string(), paths[1].clone()]);
                check(&gxx(&arguments, &[])?, &job.shown)?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn flags(more: &[&str]) -> Vec<String> {
    let mut flags = vec![
        "-std=gnu++17",
        "-O2",
        "-g1",
        "-fPIC",
        "-fvisibility=hidden",
        // Warnings about kernels are left to NVRTC.
        "-w",
        // As in CUDA, a float4 may be read where floats were written.
        "-fno-strict-aliasing",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=off",
    ];
    // Makes `fmaf` an instruction, if this machine, which builds and runs it, has one.
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx2") {
        flags.extend(["-mfma", "-mavx2"]);
    }
    flags.extend(more);
    flags.into_iter().map(str::to_string).collect()
}

fn gxx(arguments: &[String], more: &[&str]) -> Result<Output> {
    let output = Command::new("g++").args(arguments).args(more).stdin(Stdio::null()).output();
    output.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::NoCompiler(error),
        _ => Error::File { path: PathBuf::from("g++"), error },
    })
}

fn check(output: &Output, path: &Path) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Compile { path: path.to_path_buf(), messages: String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::File { path: path.to_path_buf(), error })
}
