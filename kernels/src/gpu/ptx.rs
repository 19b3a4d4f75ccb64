//! Tests of the embedded PTX that need no GPU: it is compiled from the current sources, and declares what the launchers
//! pass.

use super::KernelFile;
use crate::passes::kernel_files;

/// FNV-1a, as in build.py.
fn fingerprint(bytes: impl Iterator<Item = u8>) -> String {
    let state =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{state:016x}")
}

#[test]
fn the_ptx_is_that_of_the_sources() {
    for KernelFile { name, source, headers, ptx, .. } in kernel_files() {
        let texts = [&[include_str!("common.cuh")], headers, &[source]].concat();
        let want = fingerprint(texts.into_iter().flat_map(str::bytes));
        let first = ptx.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(&format!("// sources {want},")),
            "the PTX of {name} is stale: run python3 kernels/src/gpu/build.py"
        );
    }
}

#[test]
fn every_source_has_launchers() {
    fn visit(folder: &std::path::Path, found: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "cu") {
                *found += 1;
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(kernel_files().iter().any(|file| file.name == name), "{name} is not declared by `kernels!`");
            }
        }
    }
    let mut found = 0;
    visit(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, kernel_files().len());
}

/// What the PTX declares about its kernels: name, sizes of the parameters, threads of a block.
fn declarations(ptx: &str) -> Vec<(String, Vec<usize>, u32)> {
    let mut found: Vec<(String, Vec<usize>, u32)> = Vec::new();
    for line in ptx.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix(".visible .entry ") {
            found.push((rest.trim_end_matches('(').to_owned(), Vec::new(), 0));
        } else if let Some(rest) = line.strip_prefix(".param ") {
            let (_, sizes, _) = found.last_mut().unwrap();
            // `.u64 name,` or `.align 4 .b8 name[76],`
            sizes.push(match rest.split_once('[') {
                Some((_, len)) => len.trim_end_matches([',', ']']).parse().unwrap(),
                None => rest.split_once(' ').unwrap().0[2..].parse::<usize>().unwrap() / 8,
            });
        } else if let Some(threads) = line.strip_prefix(".maxntid ") {
            found.last_mut().unwrap().2 = threads.split(',').next().unwrap().parse().unwrap();
        }
    }
    found
}

/// All kernels run on the oldest supported GPU, except those on tensor cores: it has no TF32.
#[test]
fn kernels_in_tf32_use_tensor_cores() {
    for KernelFile { name, ptx, .. } in kernel_files() {
        let [rounded, split] = ["_tf32.cu", "_tf32x3.cu"].map(|end| name.ends_with(end));
        let target = if rounded || split { ".target sm_80" } else { ".target sm_70" };
        assert!(ptx.lines().any(|line| line == target), "{name}: expected {target}");
        for kernel in ptx.split(".visible .entry ").skip(1) {
            let multiplies = ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", rounded || split);
            for (instruction, expected) in [multiplies, ("cvt.rna.tf32.f32", rounded)] {
                let kernel_name = kernel.lines().next().unwrap_or_default();
                assert_eq!(kernel.contains(instruction), expected, "{name}: {instruction} in {kernel_name}");
            }
        }
    }
}

/// The driver takes any bytes: it would not notice an extra argument, or one of the wrong size.
#[test]
fn launchers_pass_what_kernels_take() {
    for KernelFile { name, ptx, signatures, .. } in kernel_files() {
        let declared = declarations(ptx);
        assert_eq!(declared.len(), signatures.len(), "kernels of {name}");
        for (kernel, sizes, threads) in declared {
            let signature = signatures.iter().find(|signature| signature.name == kernel);
            let signature = signature.unwrap_or_else(|| panic!("{name} has a kernel {kernel} without launcher"));
            assert_eq!(signature.sizes, sizes, "arguments of {kernel}");
            assert_eq!(signature.block, threads, "threads of {kernel}");
        }
    }
}
