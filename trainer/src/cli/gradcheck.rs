//! `resconv gradcheck`

use anyhow::bail;
use clap::Args;
use kernels::conv2d::Algo;
use kernels::simd::Isa;
use trainer::lab::gradcheck::{self, Request};
use trainer::settings::{Device, PrecisionSetting};
use trainer::system::terminal::{print_result, print_while_waiting};
use trainer::train::backend::{self, BackendRequest};

#[derive(Debug, Args)]
pub(crate) struct GradcheckArgs {
    /// One operation, as in the first column of the table [default: all]
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// What is checked: cpu, the kernels against the reference; cuda or cuda:N, those of an NVIDIA GPU; reference, the
    /// naive loops against finite differences; auto, the reference and the CPU
    #[arg(long, default_value_t = Device::Auto)]
    device: Device,
    /// What the GPU's convolutions multiply, as in training; the tolerance is for that
    #[arg(long, value_enum, default_value_t = PrecisionSetting::F32)]
    precision: PrecisionSetting,
    /// Instruction set: portable, avx2 or avx512; can be repeated [default: KERNELS_ISA, or all that the CPU has]
    #[arg(long)]
    isa: Vec<Isa>,
    /// Algorithm of convolutions: im2col, direct, winograd2x3, winograd4x3, winograd4x4 or winograd4x5; can be repeated
    /// [default: all]
    #[arg(long)]
    algo: Vec<Algo>,
    /// Threads that compute; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Random cases of every operation, in addition to its awkward ones
    #[arg(long, value_name = "N", default_value_t = 32)]
    cases: u64,
    /// Seed of the first random case and of all values; the next case has the next seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only cases whose names, as in the last column of the table, contain this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Make a mistake in every path, which the checks must find
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "NAME", hide = true)]
    inject_fault: Option<kernels::faults::Fault>,
}

pub(super) fn run(args: GradcheckArgs) -> anyhow::Result<()> {
    let GradcheckArgs { op, device, precision, isa, algo, threads, cases, seed, case, .. } = args;
    let (reference, cpu) = match device {
        Device::Auto => (true, true),
        Device::Cpu => (false, true),
        Device::Reference => (true, false),
        Device::Cuda { .. } => (false, false),
    };
    let gpu = match device {
        Device::Cuda { .. } => {
            Some(backend::open(BackendRequest { device, precision, no_graphs: false, threads }, &mut |_| ())?)
        }
        // Here, `auto` checks no GPU.
        _ if precision != PrecisionSetting::F32 => {
            bail!("--precision {precision}: expected --device cuda or cuda:N, got --device {device}")
        }
        _ => None,
    };
    let isas = match isa {
        _ if !cpu => Vec::new(),
        isas if !isas.is_empty() => isas,
        _ if std::env::var_os("KERNELS_ISA").is_some() => vec![Isa::from_env()?],
        _ => Isa::available(),
    };
    if let Some(op) = op.as_deref().filter(|_| !algo.is_empty()) {
        gradcheck::check_has_algorithms(op)?;
    }
    let algos = if algo.is_empty() { Algo::ALL.to_vec() } else { algo };
    let request = Request {
        op,
        case,
        reference,
        isas,
        algos,
        gpu,
        threads,
        cases,
        seed,
        #[cfg(feature = "faults")]
        fault: args.inject_fault,
    };
    let summary = gradcheck::run(&request, &mut print_while_waiting)?;
    print_result(&summary.to_string())?;
    if !summary.passed() {
        bail!("{} of {} lines of the gradient check failed", summary.failed().count(), summary.lines.len());
    }
    Ok(())
}
