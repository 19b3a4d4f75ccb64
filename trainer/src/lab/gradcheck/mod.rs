//! Checks every gradient: of every operation, on every path and with every algorithm.
//!
//! | check | compares | relies on |
//! | --- | --- | --- |
//! | differences | the gradients of the naive f64 loops of [`Reference`] with central differences | forward passes |
//! | reference | results and gradients of an f32 path with those of [`Reference`] | [`Reference`] |
//! | adjoint | `<c, y>` with `sum <x, dx>` where `y` is linear in `x` | [`Reference`], for the tolerance |
//!
//! Every operation has awkward cases and random ones, each alone and with a fan-out of two, where gradients are added.
//! [`Tolerance`] says how large errors may be.

mod report;

pub use report::{Line, Summary};

use crate::train::backend::{AnyBackend, with_backend};
use engine::gradcheck::{self, Case, Oracle, Report, Row};
use engine::{Backend, Cpu, GradcheckOptions, PlanOptions, Precision, Reference};
use kernels::conv2d::{Algo, Conv2dParams};
#[cfg(feature = "faults")]
use kernels::faults::{Fault, Faulty};
use kernels::simd::Isa;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

/// What to check.
#[derive(Clone, Debug)]
pub struct Request {
    /// One operation; all if absent.
    pub op: Option<String>,
    /// Cases whose names contain this; all if absent.
    pub case: Option<String>,
    /// Whether [`Reference`] is checked against central differences.
    pub reference: bool,
    /// Instruction sets whose kernels are checked against [`Reference`].
    pub isas: Vec<Isa>,
    /// Algorithms of convolutions.
    pub algos: Vec<Algo>,
    /// A GPU whose kernels are checked against [`Reference`].
    pub gpu: Option<AnyBackend>,
    /// Threads of the CPU's paths; 0 means one per core.
    pub threads: usize,
    /// Number of random cases of every operation.
    pub cases: u64,
    /// Seed of the first random case, and of the values of the awkward ones. Other random cases have the seeds that
    /// follow.
    pub seed: u64,
    /// A mistake to make in every path on the host, to see that it is found.
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            op: None,
            case: None,
            reference: true,
            isas: Isa::available(),
            algos: Algo::ALL.to_vec(),
            gpu: None,
            threads: 0,
            cases: 32,
            seed: 0,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum GradcheckError {
    /// There is no such operation.
    #[error("unknown operation `{name}`: expected one of {known}")]
    UnknownOp {
        /// The name that was given.
        name: String,
        /// All names.
        known: String,
    },
    /// Its kernels have no algorithms.
    #[error("--algo: expected an operation that has algorithms ({known}), got --op {name}")]
    NoAlgorithms {
        /// The operation.
        name: String,
        /// Those that have.
        known: String,
    },
    /// No case passes the filters.
    #[error("no case of {op} has `{case}` in its name and a shape that the chosen device and algorithms support")]
    NoCases {
        /// The operation, or `any operation`.
        op: String,
        /// What names should contain.
        case: String,
    },
    /// A path cannot run.
    #[error("the CPU cannot be used as asked: {0}")]
    Cpu(String),
    /// Faults are made in the host's memory.
    #[cfg(feature = "faults")]
    #[error("--inject-fault {0}: expected --device cpu or reference, as faults are made in the host's memory")]
    FaultOnGpu(Fault),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// What computes a case.
#[derive(Clone, Debug)]
enum Path {
    /// The oracle.
    Reference,
    /// The kernels of an instruction set, for operations without a choice of algorithm.
    Cpu(Cpu),
    /// Those of an instruction set and an algorithm.
    Algorithm(Cpu, Algo),
    /// Those of a GPU.
    Gpu(AnyBackend),
}

impl Path {
    fn name(&self) -> String {
        match self {
            Path::Reference => "reference".to_owned(),
            Path::Cpu(cpu) => cpu.name(),
            Path::Algorithm(cpu, algo) => algo.kernel_name(cpu.isa()),
            Path::Gpu(gpu) => with_backend!(gpu, |backend| backend.name()),
        }
    }

    fn precision(&self) -> Precision {
        match self {
            Path::Gpu(gpu) => with_backend!(gpu, |backend| backend.precision()),
            Path::Reference | Path::Cpu(_) | Path::Algorithm(..) => Precision::F32,
        }
    }

    /// The flags that choose this path.
    fn flags(&self) -> String {
        match self {
            Path::Reference => "--device reference".to_owned(),
            Path::Cpu(cpu) => format!("--device cpu --isa {}", cpu.isa()),
            Path::Algorithm(cpu, algo) => format!("--device cpu --isa {} --algo {algo}", cpu.isa()),
            Path::Gpu(gpu) => match self.precision() {
                Precision::F32 => format!("--device {}", gpu.device()),
                precision => format!("--device {} --precision {precision}", gpu.device()),
            },
        }
    }

    /// Whether the path applies to the case. An operation whose cases are all convolutions (`with_algorithms`) has a
    /// path for every algorithm; any other has a single path, without an algorithm.
    fn takes(&self, case: &Case, with_algorithms: bool) -> Result<bool, engine::Error> {
        Ok(match self {
            Path::Reference => true,
            Path::Cpu(_) => !with_algorithms,
            Path::Algorithm(_, algo) => with_algorithms && case.convolutions()?.iter().all(|p| algo.supports(p)),
            // The caller's own Rust code does not run on a GPU.
            Path::Gpu(_) => case.op != CUSTOM,
        })
    }
}

/// What errors are measured by, and how large they may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Central differences with step `h` in f64. Errors are relative, and may be 1e-6, for the truncation error
    /// `h^2 f''' / 6` and the rounding errors of `f` divided by `h`.
    Differences,
    /// Rounding. Errors are in multiples of those that rounding is [expected](Oracle) to cause, and may be eight times
    /// as large.
    Rounding {
        /// Distance from 1 to the next number of the path's type.
        eps: f64,
        /// Whether operands are rounded to TF32 before they are multiplied.
        tf32: bool,
    },
}

impl Tolerance {
    fn rounding(path: &Path, case: &Case) -> Result<Tolerance, engine::Error> {
        let eps = if matches!(path, Path::Reference) { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let is_rounded = |p: &Conv2dParams| path.precision().operand_error(p) > 0.0;
        let tf32 = path.precision() == Precision::Tf32 && case.convolutions()?.iter().any(is_rounded);
        Ok(Tolerance::Rounding { eps, tf32 })
    }

    /// The largest error that passes.
    pub fn value(&self) -> f64 {
        let options = GradcheckOptions::default();
        match self {
            Tolerance::Differences => options.tolerance,
            Tolerance::Rounding { .. } => options.backend_tolerance,
        }
    }

    /// An error, as the table shows it.
    fn format(&self, error: f64) -> String {
        match self {
            Tolerance::Differences => format!("{error:.1e}"),
            Tolerance::Rounding { .. } => format!("{error:.2}x"),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tolerance::Differences => f.write_str("h^2 f'''/6, eps f/h"),
            Tolerance::Rounding { eps, tf32 } => {
                let number = if *eps < 1e-10 { "f64" } else { "f32" };
                write!(f, "rounding, {number} eps")?;
                if *tf32 { f.write_str(", tf32 eps") } else { Ok(()) }
            }
        }
    }
}

/// The operation that the caller defines.
const CUSTOM: &str = "custom";

/// Number of elements of every tensor that are compared with finite differences.
const SAMPLES: usize = 12;

/// Runs the checks. `tell` is called with a line for every operation.
///
/// # Errors
/// [`GradcheckError`] if the request leaves nothing to check. Wrong gradients are not an error: see
/// [`Summary::passed`].
pub fn run(request: &Request, tell: &mut dyn FnMut(&str)) -> Result<Summary, GradcheckError> {
    let start = Instant::now();
    let cases = select(request)?;
    let paths = paths(request)?;
    let mut summary = Summary::default();
    for op in ops(cases.iter().map(|(case, _)| case)) {
        let of_op: Vec<&(Case, u64)> = cases.iter().filter(|(case, _)| case.op == op).collect();
        let with_algorithms = has_algorithms(&op)?;
        let mut summaries = vec![Summary::default(); paths.len()];
        for case in &of_op {
            check_case(request, &paths, case, with_algorithms, &mut summaries)?;
        }
        for of_path in summaries {
            summary.lines.extend(of_path.lines);
            summary.kinks += of_path.kinks;
        }
        tell(&format!("{op}: {} cases", of_op.len()));
    }
    if summary.lines.is_empty() {
        let op = request.op.clone().unwrap_or_else(|| "any operation".to_owned());
        return Err(GradcheckError::NoCases { op, case: request.case.clone().unwrap_or_default() });
    }
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// Checks that the choice of an algorithm means something to an operation.
///
/// # Errors
/// [`GradcheckError::NoAlgorithms`] if it does not.
pub fn check_has_algorithms(op: &str) -> Result<(), GradcheckError> {
    let known = ops(gradcheck::cases().iter());
    if !known.iter().any(|known| known == op) || has_algorithms(op)? {
        return Ok(());
    }
    let mut with = Vec::new();
    for op in known {
        if has_algorithms(&op)? {
            with.push(op);
        }
    }
    Err(GradcheckError::NoAlgorithms { name: op.to_owned(), known: with.join(", ") })
}

/// Names of the operations of some cases, in order of appearance.
fn ops<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    cases.filter(|case| seen.insert(case.op.clone())).map(|case| case.op.clone()).collect()
}

/// Whether all cases of an operation are convolutions.
fn has_algorithms(op: &str) -> Result<bool, engine::Error> {
    for case in gradcheck::cases().iter().filter(|case| case.op == op) {
        if case.convolutions()?.is_empty() {
            return Ok(false);
        }
    }
    // All must be, as a normalization has one case with a convolution behind it, among others.
    Ok(true)
}

/// The cases that were asked for, with the seeds of their values.
fn select(request: &Request) -> Result<Vec<(Case, u64)>, GradcheckError> {
    let awkward = gradcheck::cases();
    let known = ops(awkward.iter());
    if let Some(op) = request.op.as_ref().filter(|op| !known.contains(op)) {
        return Err(GradcheckError::UnknownOp { name: op.clone(), known: known.join(", ") });
    }
    let mut cases: Vec<(Case, u64)> = awkward.into_iter().map(|case| (case, request.seed)).collect();
    for seed in (0..request.cases).map(|i| request.seed.wrapping_add(i)) {
        cases.extend(gradcheck::random_cases(seed).into_iter().map(|case| (case, seed)));
    }
    let wanted = |case: &Case| {
        request.op.as_ref().is_none_or(|op| case.op == *op)
            && request.case.as_ref().is_none_or(|part| case.name.contains(part))
    };
    cases.retain(|(case, _)| wanted(case));
    Ok(cases)
}

fn paths(request: &Request) -> Result<Vec<Path>, GradcheckError> {
    let mut paths = Vec::new();
    if request.reference {
        paths.push(Path::Reference);
    }
    for &isa in &request.isas {
        let cpu = Cpu::with_isa(isa, request.threads).map_err(|error| GradcheckError::Cpu(error.to_string()))?;
        paths.push(Path::Cpu(cpu.clone()));
        paths.extend(request.algos.iter().map(|&algo| Path::Algorithm(cpu.clone().with_conv2d_algo(algo), algo)));
    }
    if let Some(gpu) = &request.gpu {
        #[cfg(feature = "faults")]
        if let Some(fault) = request.fault {
            return Err(GradcheckError::FaultOnGpu(fault));
        }
        paths.push(Path::Gpu(gpu.clone()));
    }
    Ok(paths)
}

/// All checks of a case on every path that takes it. `summaries` has one for each path.
fn check_case(
    request: &Request,
    paths: &[Path],
    (case, seed): &(Case, u64),
    with_algorithms: bool,
    summaries: &mut [Summary],
) -> Result<(), engine::Error> {
    let options = GradcheckOptions {
        seed: *seed,
        samples: Some(SAMPLES),
        plan: PlanOptions { poison: true, ..PlanOptions::default() },
        ..GradcheckOptions::default()
    };
    let mut oracle = None;
    for (path, summary) in paths.iter().zip(summaries) {
        if !path.takes(case, with_algorithms)? {
            continue;
        }
        let oracle = match &mut oracle {
            Some(oracle) => oracle,
            none => none.insert(Oracle::new(&case.graph, case.output, &options)?),
        };
        let [compared, adjoint] = check_path(request, path, case, &options, oracle)?;
        let rounding = Tolerance::rounding(path, case)?;
        let (against, tolerance) = match path {
            Path::Reference => ("differences", Tolerance::Differences),
            Path::Cpu(_) | Path::Algorithm(..) | Path::Gpu(_) => ("reference", rounding),
        };
        summary.record(&Check { path, case, seed: *seed, against, tolerance }, &compared);
        summary.record(&Check { path, case, seed: *seed, against: "adjoint", tolerance: rounding }, &adjoint);
    }
    Ok(())
}

/// The comparison and the adjoint identity of a case on a path, with the fault that the request asks for.
#[cfg_attr(not(feature = "faults"), expect(unused_variables, reason = "a request has no fault"))]
fn check_path(
    request: &Request,
    path: &Path,
    case: &Case,
    options: &GradcheckOptions,
    oracle: &mut Oracle<'_>,
) -> Result<[Report; 2], engine::Error> {
    #[cfg(feature = "faults")]
    if let Some(fault) = request.fault {
        match path {
            Path::Reference => return against_differences(Faulty::new(Reference, fault), case, options, oracle),
            Path::Cpu(cpu) | Path::Algorithm(cpu, _) => {
                return oracle.check(Faulty::new(cpu.clone(), fault), &case.linear);
            }
            // Refused before.
            Path::Gpu(_) => {}
        }
    }
    match path {
        Path::Reference => against_differences(Reference, case, options, oracle),
        Path::Cpu(cpu) | Path::Algorithm(cpu, _) => oracle.check(cpu.clone(), &case.linear),
        Path::Gpu(gpu) => with_backend!(gpu, |backend| oracle.check(Clone::clone(backend), &case.linear)),
    }
}

/// The gradients of a case against central differences, and the adjoint identity.
fn against_differences<B>(
    backend: B,
    case: &Case,
    options: &GradcheckOptions,
    oracle: &mut Oracle<'_>,
) -> Result<[Report; 2], engine::Error>
where
    B: Backend<Element = f64> + Clone,
{
    let compared = gradcheck::check_on(backend.clone(), &case.graph, case.output, options)?;
    let [_, adjoint] = oracle.check(backend, &case.linear)?;
    Ok([compared, adjoint])
}

/// A case that was run on a path, with its seed and tolerance.
struct Check<'a> {
    path: &'a Path,
    case: &'a Case,
    seed: u64,
    against: &'static str,
    tolerance: Tolerance,
}

/// The pass whose result a row compares. For the adjoint identity, it is the backward pass of the first tensor in which
/// the operation is linear.
fn pass_name(row: &Row) -> String {
    let tensor = row.tensor.split(", ").next().unwrap_or_default();
    match (row.kind, tensor) {
        ("output", _) => "forward".to_owned(),
        ("state", _) => "running statistics".to_owned(),
        (_, "x") => "grad_input".to_owned(),
        (_, "w") => "grad_weight".to_owned(),
        (_, tensor) => format!("grad_{tensor}"),
    }
}
