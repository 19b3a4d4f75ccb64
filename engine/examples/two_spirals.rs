//! How to write your own network: a small classifier that tells two intertwined spirals apart.
//!
//! ```text
//! cargo run --release -p resconv-engine --example two_spirals
//! ```
//!
//! It shows the whole engine: record a graph, check its gradients, plan training and evaluation for two batch sizes,
//! train with a schedule, and read results. It ends by drawing what the network has learned.

use engine::*;

const TRAIN_POINTS: usize = 400;
const GRID: [usize; 2] = [24, 56];
const STEPS: u64 = 1500;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // 1. A function that records the network for a batch size. Shapes are fixed in a graph, so each batch size has
    //    its own graph; parameters with the same names and shapes are the same parameters to the session.
    let train = network(TRAIN_POINTS)?;
    let grid = network(GRID[0] * GRID[1])?;

    // 2. Gradients are checked against finite differences before anything is trained, here for a small batch.
    let small = network(5)?;
    let report = gradcheck::check(&small.graph, small.loss, &GradcheckOptions::default())?;
    println!("{report}\n");
    assert!(report.passed(), "a wrong gradient is a bug of the engine");

    // 3. Plans say how each graph is computed, and can be printed before they run.
    let plans = vec![
        Plan::training(&train.graph, train.loss)?,
        Plan::inference(&grid.graph, &[grid.class], Statistics::Running)?,
    ];
    println!("{}\n", plans[0]);
    let (training, evaluation) = (PlanId(0), PlanId(1));

    // 4. A session owns backend, memory and plans. All random numbers come from the seed.
    let mut session = Session::new(Cpu::new(0)?, plans)?;
    session.initialize(0);
    println!("{} on {} threads", session.backend().name(), session.backend().threads());

    // 5. Training: write inputs, run, step. Here the batch is all the data, so the inputs are written once.
    let (points, classes) = spirals(TRAIN_POINTS);
    session.write_input(training, train.points, &points)?;
    session.write_input(training, train.target, &classes)?;
    let schedule = Schedule { base_lr: 2e-2, kind: ScheduleKind::Cosine, warmup_steps: 50, total_steps: STEPS };
    session.enter(|session| -> Result<()> {
        for step in 0..STEPS {
            session.run(training)?;
            let lr = schedule.lr(step);
            if step % 250 == 0 {
                println!("step {step:>4}  lr {lr:.4}  loss {:.5}", session.loss(training)?);
            }
            session.update(&Step::new(AdamW::default(), lr))?;
        }
        session.run(training)
    })?;
    let loss = session.loss(training)?;
    println!("step {STEPS}             loss {loss:.5}\n");

    // 6. The other plan sees the trained parameters.
    session.write_input(evaluation, grid.points, &grid_points())?;
    session.run(evaluation)?;
    let mut probability = vec![0.0; GRID[0] * GRID[1]];
    session.read(evaluation, grid.class, &mut probability)?;
    draw(&probability, &points, &classes);
    assert!(loss < 0.01, "the spirals were not learned");
    Ok(())
}

/// The nodes that the program needs to know.
struct Network {
    graph: Graph,
    points: NodeId,
    target: NodeId,
    class: NodeId,
    loss: NodeId,
}

/// A multilayer perceptron from points in the plane to the probability that they belong to the second spiral.
fn network(batch: usize) -> Result<Network> {
    let mut graph = Graph::new();
    let points = graph.input("points", [batch, 2])?;
    let target = graph.input("target", [batch, 1])?;
    let hidden = layer(&mut graph, "hidden_1", points, 32, Activation::Gelu)?;
    let hidden = layer(&mut graph, "hidden_2", hidden, 32, Activation::Gelu)?;
    let class = layer(&mut graph, "class", hidden, 1, Activation::Sigmoid)?;
    let loss = graph.mse_loss(class, target)?;
    graph.set_name(loss, "loss");
    Ok(Network { graph, points, target, class, loss })
}

/// A linear layer and its activation. Layers are functions that record nodes; there is nothing more to them.
fn layer(graph: &mut Graph, name: &str, x: NodeId, outputs: usize, f: Activation) -> Result<NodeId> {
    let inputs = graph.shape(x).channels();
    let init = Init::kaiming_uniform(inputs);
    let weight = graph.parameter(&format!("{name}.weight"), [inputs, outputs], init)?;
    let bias = graph.parameter(&format!("{name}.bias"), [outputs], init)?;
    let y = graph.linear(x, weight, Some(bias))?;
    graph.set_name(y, name);
    graph.activation(y, f)
}

/// Points on two spirals of one and a half turns, alternating between them, and the spiral of each point: 0 or 1.
fn spirals(n: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut points, mut classes) = (Vec::new(), Vec::new());
    for i in 0..n {
        let class = i % 2;
        let along = (i / 2) as f32 / (n / 2) as f32;
        let angle = std::f32::consts::PI * (3.0 * along + class as f32);
        let radius = 0.2 + 1.7 * along;
        points.extend([radius * angle.cos(), radius * angle.sin()]);
        classes.push(class as f32);
    }
    (points, classes)
}

/// The centers of the drawing's cells. It shows `[-2, 2)` in both directions.
fn grid_points() -> Vec<f32> {
    let [rows, columns] = GRID;
    let middle = |i: usize, n: usize| 4.0 * (i as f32 + 0.5) / n as f32 - 2.0;
    (0..rows * columns).flat_map(|i| [middle(i % columns, columns), middle(i / columns, rows)]).collect()
}

/// Draws which spiral the network sees where, as `.` and `:`, and the points, as `o` and `x`.
fn draw(probability: &[f32], points: &[f32], classes: &[f32]) {
    let [rows, columns] = GRID;
    let mut cells: Vec<char> = probability.iter().map(|&p| if p < 0.5 { '.' } else { ':' }).collect();
    for (point, &class) in points.chunks_exact(2).zip(classes) {
        let cell = |x: f32, n: usize| ((x + 2.0) / 4.0 * n as f32) as usize;
        cells[cell(point[1], rows) * columns + cell(point[0], columns)] = if class == 0.0 { 'o' } else { 'x' };
    }
    for row in cells.chunks(columns) {
        println!("{}", row.iter().collect::<String>());
    }
}
