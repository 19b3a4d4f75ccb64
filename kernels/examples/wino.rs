use kernels::conv2d::{Conv2dParams, cpu::winograd as w};
use kernels::{Cpu, Write, simd::Isa};
use std::time::Instant;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let (size, ch) = (*a.first().unwrap_or(&32), *a.get(1).unwrap_or(&32));
    let p = Conv2dParams::new([64, size, size, ch], ch, [3, 3], [1, 1], [1, 1], 1).unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    let reps = if only.is_empty() { 30 } else { 200 };
    for threads in [1, 2] {
        for isa in [Isa::Avx2, Isa::Avx512] {
            for tile in [w::Tile::Four, w::Tile::Two] {
                if !format!("{isa} {tile:?} {threads}").starts_with(&only) && !only.is_empty() {
                    continue;
                }
                let cpu = Cpu::with_isa(isa, threads).unwrap();
                let x: Vec<f32> = (0..p.input_len()).map(|i| (i as f32 * 0.37).sin()).collect();
                let k: Vec<f32> = (0..p.weight_len()).map(|i| (i as f32 * 0.31).sin()).collect();
                let mut y = vec![0.0; p.output_len()];
                let mut dw = vec![0.0; p.weight_len()];
                let mut ws = vec![0.0; w::forward_workspace_len(&cpu, tile, &p)];
                let mut ws2 = vec![0.0; w::grad_weight_workspace_len(&cpu, tile, &p)];
                let mut t = [vec![], vec![], vec![]];
                for _ in 0..reps {
                    let s = Instant::now();
                    w::forward(&cpu, tile, &p, &x, &k, &[], &mut y, Write::Set, &mut ws);
                    t[0].push(s.elapsed().as_secs_f64() * 1e3);
                    let s = Instant::now();
                    w::grad_input(&cpu, tile, &p, &x, &k, &[], &mut y, Write::Set, &mut ws);
                    t[1].push(s.elapsed().as_secs_f64() * 1e3);
                    let s = Instant::now();
                    w::grad_weight(&cpu, tile, &p, &x, &y, &mut dw, Write::Set, &mut ws2);
                    t[2].push(s.elapsed().as_secs_f64() * 1e3);
                }
                let m: Vec<f64> = t
                    .iter_mut()
                    .map(|t| {
                        t.sort_by(f64::total_cmp);
                        t[t.len() / 4]
                    })
                    .collect();
                let g = p.flops() as f64 / 1e6;
                println!(
                    "{isa} {tile:?} {threads}t fwd {:.2} ms {:.0} GF/s  dx {:.2} {:.0}  dw {:.2} {:.0}",
                    m[0],
                    g / m[0],
                    m[1],
                    g / m[1],
                    m[2],
                    g / m[2]
                );
            }
        }
    }
}
