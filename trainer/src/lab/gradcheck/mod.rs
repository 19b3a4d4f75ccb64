//! Checks every gradient: of every operation, on every path and with every algorithm.
//!
//! | check | compares | relies on |
//! | --- | --- | --- |
//! | differences | the gradients of the naive f64 loops of [`Reference`] with central differences | forward passes |
//! | reference | results and gradients of an f32 path with those of [`Reference`] | [`Reference`] |
//! | adjoint | `<c, y>` with `sum <x, dx>` where `y` is linear in `x` | nothing |
//!
//! Every operation has awkward cases and random ones, each alone and with a fan-out of two, where gradients are added.
//! A check's tolerance follows from its arithmetic: [`Tolerance`] has the formulas.

mod report;

pub use report::{Line, Summary};

use crate::train::backend::{AnyBackend, with_backend};
use engine::gradcheck::{self, Case, Report, Row};
use engine::{Backend, Cpu, GradcheckOptions, PlanOptions, Reference};
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

    /// The flags that choose this path.
    fn flags(&self) -> String {
        match self {
            Path::Reference => "--device reference".to_owned(),
            Path::Cpu(cpu) => format!("--device cpu --isa {}", cpu.isa()),
            Path::Algorithm(cpu, algo) => format!("--device cpu --isa {} --algo {algo}", cpu.isa()),
            Path::Gpu(gpu) => format!("--device {}{}", gpu.device(), if gpu.uses_tf32() { " --tf32" } else { "" }),
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

/// The largest error that passes, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Central differences with step `h` in f64: 1e-6, for the truncation error `h^2 f''' / 6` and the rounding errors
    /// of `f` divided by `h`.
    Differences,
    /// `factor (4 + sqrt terms) eps`, relative to the largest element of a tensor, or to 1/4 if that is more.
    ///
    /// The rounding errors of a sum have random signs, so they grow with the square root of the number of terms; the 4
    /// is for the operations around the sum. `factor` is 4, because terms of both signs make a sum smaller than the
    /// values that are rounded on the way to it, times that of the algorithm ([`Algo::error_factor`]). If a tensor has
    /// one or two elements, all may happen to be near 0 although the terms are of order 1: hence the 1/4.
    Rounding {
        /// See above.
        factor: f64,
        /// Terms of the longest sum.
        terms: usize,
        /// Distance from 1 to the next number of the path's type.
        eps: f64,
        /// Whether operands are rounded to TF32 before they are multiplied. The error of each is up to half the
        /// distance from 1 to the next number of TF32. Unlike errors of sums, those of products do not accumulate:
        /// relative to the sum they stay the same, so `factor` times this distance is added.
        tf32: bool,
    },
}

impl Tolerance {
    fn rounding(path: &Path, case: &Case) -> Result<Tolerance, engine::Error> {
        let (factor, eps) = match path {
            Path::Reference => (1.0, f64::EPSILON),
            Path::Cpu(_) | Path::Gpu(_) => (1.0, f64::from(f32::EPSILON)),
            Path::Algorithm(_, algo) => (algo.error_factor(), f64::from(f32::EPSILON)),
        };
        // The tensor cores' kernels need channels in multiples of four.
        let in_fours = |p: &Conv2dParams| [p.c, p.k].iter().all(|c| (c / p.groups).is_multiple_of(4));
        let tf32 = matches!(path, Path::Gpu(gpu) if gpu.uses_tf32()) && case.convolutions()?.iter().any(in_fours);
        Ok(Tolerance::Rounding { factor: 4.0 * factor, terms: case.longest_sum()?, eps, tf32 })
    }

    /// The tolerance as a number.
    pub fn value(&self) -> f64 {
        match *self {
            Tolerance::Differences => GradcheckOptions::default().tolerance,
            Tolerance::Rounding { factor, terms, eps, tf32 } => {
                let products = if tf32 { TF32_EPSILON } else { 0.0 };
                factor * ((4.0 + (terms as f64).sqrt()) * eps + products)
            }
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tolerance::Differences => f.write_str("h^2 f'''/6, eps f/h"),
            Tolerance::Rounding { factor, terms, eps, tf32 } => {
                let kind = if *eps < 1e-10 { "f64" } else { "f32" };
                write!(f, "{factor} (4 + sqrt {terms}) {kind} eps")?;
                if *tf32 { write!(f, ", {factor} tf32 eps") } else { Ok(()) }
            }
        }
    }
}

/// Distance from 1 to the next number of TF32, which has 10 bits of mantissa.
const TF32_EPSILON: f64 = 1.0 / 1024.0;

/// Smallest magnitude that rounding errors are relative to: see [`Tolerance::Rounding`].
const FLOOR: f64 = 0.25;

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
        for path in &paths {
            for (case, seed) in &of_op {
                if path.takes(case, with_algorithms)? {
                    check_case(request, path, case, *seed, &mut summary)?;
                }
            }
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

/// All checks of a case on a path.
fn check_case(
    request: &Request,
    path: &Path,
    case: &Case,
    seed: u64,
    summary: &mut Summary,
) -> Result<(), engine::Error> {
    let rounding = Tolerance::rounding(path, case)?;
    let options = GradcheckOptions {
        seed,
        samples: Some(SAMPLES),
        backend_tolerance: rounding.value(),
        backend_floor: FLOOR,
        plan: PlanOptions { poison: true, ..PlanOptions::default() },
        ..GradcheckOptions::default()
    };
    let (compared, adjoint) = check_path(request, path, (case, &options))?;
    let (against, tolerance) = match path {
        Path::Reference => ("differences", Tolerance::Differences),
        Path::Cpu(_) | Path::Algorithm(..) | Path::Gpu(_) => ("reference", rounding),
    };
    summary.record(&Check { path, case, seed, against, tolerance }, &compared);
    summary.record(&Check { path, case, seed, against: "adjoint", tolerance: rounding }, &adjoint);
    Ok(())
}

/// The comparison and the adjoint identity of a case on a path, with the fault that the request asks for.
#[cfg_attr(not(feature = "faults"), expect(unused_variables, reason = "a request has no fault"))]
fn check_path(
    request: &Request,
    path: &Path,
    case: (&Case, &GradcheckOptions),
) -> Result<(Report, Report), engine::Error> {
    #[cfg(feature = "faults")]
    if let Some(fault) = request.fault {
        match path {
            Path::Reference => return against_differences(Faulty::new(Reference, fault), case),
            Path::Cpu(cpu) | Path::Algorithm(cpu, _) => {
                return against_reference(&Faulty::new(cpu.clone(), fault), case);
            }
            // Refused before.
            Path::Gpu(_) => {}
        }
    }
    match path {
        Path::Reference => against_differences(Reference, case),
        Path::Cpu(cpu) | Path::Algorithm(cpu, _) => against_reference(cpu, case),
        Path::Gpu(gpu) => with_backend!(gpu, |backend| against_reference(backend, case)),
    }
}

/// A case that was run on a path, with its seed and tolerance.
struct Check<'a> {
    path: &'a Path,
    case: &'a Case,
    seed: u64,
    against: &'static str,
    tolerance: Tolerance,
}

/// The gradients of a case against central differences, and the adjoint identity.
fn against_differences<B>(
    backend: B,
    (case, options): (&Case, &GradcheckOptions),
) -> Result<(Report, Report), engine::Error>
where
    B: Backend<Element = f64> + Clone,
{
    let compared = gradcheck::check_on(backend.clone(), &case.graph, case.output, options)?;
    Ok((compared, gradcheck::check_adjoint(backend, &case.graph, case.output, &case.linear, options)?))
}

/// All results of a backend for a case against [`Reference`], and the adjoint identity.
fn against_reference<B: Backend + Clone>(
    backend: &B,
    (case, options): (&Case, &GradcheckOptions),
) -> Result<(Report, Report), engine::Error> {
    let compared = gradcheck::check_backend(backend.clone(), &case.graph, case.output, options)?;
    Ok((compared, gradcheck::check_adjoint(backend.clone(), &case.graph, case.output, &case.linear, options)?))
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
