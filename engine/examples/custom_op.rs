//! How to add your own operation to the engine, and check its gradients before training with it.
//!
//! ```text
//! cargo run --release -p resconv-engine --example custom_op
//! ```
//!
//! The operation is a snake activation with a frequency for every channel, `y = x + sin^2(a x) / a` (Ziyin, Hartwig &
//! Ueda, "Neural Networks Fail to Learn Periodic Functions and How to Fix It", 2020). A small network with it learns a
//! periodic function.

use engine::*;

/// `y = x + sin^2(a x) / a`, with `x [.., C]` and `a [C]` above 0.
#[derive(Debug)]
struct Snake;

impl CustomOp for Snake {
    fn name(&self) -> &'static str {
        "snake"
    }

    // Errors of this rule appear where the graph is recorded, with the name of the node.
    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        match inputs {
            [x, a] if a.dims() == [x.channels()] => Ok(*x),
            _ => Err(format!("expected x [.., C] and a [C], got {inputs:?}")),
        }
    }

    // `T` is f32 on the CPU and f64 on the reference backend; there are no other backends for custom operations. What
    // this pass could leave for the backward pass, besides the output, would go to the auxiliary.
    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        let (x, a) = (inputs[0].data, inputs[1].data);
        for (i, y) in output.iter_mut().enumerate() {
            let a = a[i % a.len()];
            let sin = (a * x[i]).sin();
            *y = x[i] + sin * sin / a;
        }
    }

    // dy/dx = 1 + sin(2 a x),  dy/da = (x sin(2 a x) - sin^2(a x) / a) / a
    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        let (x, a, dy) = (of.inputs[0].data, of.inputs[1].data, of.dy);
        let [dx, da] = gradients else { unreachable!("as many as inputs") };
        if let Some(dx) = dx {
            for (i, dx) in dx.iter_mut().enumerate() {
                let ax = a[i % a.len()] * x[i];
                *dx = dy[i] * (T::ONE + (ax + ax).sin());
            }
        }
        if let Some(da) = da {
            da.fill(T::ZERO);
            for (i, &x) in x.iter().enumerate() {
                let channel = i % a.len();
                let a = a[channel];
                let (ax, sin) = (a * x, (a * x).sin());
                da[channel] += dy[i] * (x * (ax + ax).sin() - sin * sin / a) / a;
            }
        }
    }
}

const POINTS: usize = 128;
const STEPS: u64 = 2000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // 1. Record it like any operation.
    let mut graph = Graph::new();
    let x = graph.input("x", [POINTS, 1])?;
    let target = graph.input("target", [POINTS, 1])?;
    let width = 16;
    let w1 = graph.parameter("w1", [1, width], Init::kaiming_uniform(1))?;
    let b1 = graph.parameter("b1", [width], Init::kaiming_uniform(1))?;
    let frequency = graph.parameter("frequency", [width], Init::Constant(2.0))?;
    let w2 = graph.parameter("w2", [width, 1], Init::kaiming_uniform(width))?;
    let b2 = graph.parameter("b2", [1], Init::Zeros)?;
    let y = graph.linear(x, w1, Some(b1))?;
    let y = graph.custom(Snake, &[y, frequency])?;
    let y = graph.linear(y, w2, Some(b2))?;
    let loss = graph.mse_loss(y, target)?;

    // 2. Check its gradients against finite differences in f64, and the f32 backend against `Reference`.
    let options = GradcheckOptions { samples: Some(16), ..GradcheckOptions::default() };
    for report in
        [gradcheck::check(&graph, loss, &options)?, gradcheck::check_backend(Cpu::new(0)?, &graph, loss, &options)?]
    {
        println!("{report}\n");
        assert!(report.passed(), "the backward pass of Snake is wrong");
    }

    // 3. Train.
    let mut session = Session::new(Cpu::new(0)?, vec![Plan::training(&graph, loss)?])?;
    let training = PlanId(0);
    session.initialize(0);
    let xs: Vec<f32> = (0..POINTS).map(|i| i as f32 / POINTS as f32 * 4.0 - 2.0).collect();
    let ys: Vec<f32> = xs.iter().map(|x| (3.0 * x).sin() + 0.5 * x).collect();
    session.write_input(training, x, &xs)?;
    session.write_input(training, target, &ys)?;
    let schedule = Schedule { base_lr: 2e-2, kind: ScheduleKind::Cosine, warmup_steps: 50, total_steps: STEPS };
    session.enter(|session| -> Result<()> {
        for step in 0..STEPS {
            session.run(training)?;
            if step % 400 == 0 {
                println!("step {step:>4}  loss {:.5}", session.loss(training)?);
            }
            session.update(&Step::new(AdamW { weight_decay: 0.0, ..AdamW::default() }, schedule.lr(step)))?;
        }
        session.run(training)
    })?;
    println!("step {STEPS}  loss {:.5}", session.loss(training)?);
    Ok(())
}
