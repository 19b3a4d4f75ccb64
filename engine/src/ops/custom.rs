//! Operations that users define.

use super::prelude::*;
use crate::Error;
use kernels::custom::{self, Function, MAX_OPERANDS};
use kernels::{Element, Span, Write, add};
use std::fmt;
use std::sync::Arc;

/// Most inputs of a [`CustomOp`]: the backward pass also reads the output, its gradient and the auxiliary.
const MAX_INPUTS: usize = MAX_OPERANDS - 3;

/// An operation of your own: a shape rule, a forward and a backward pass. [`Graph::custom`] records it.
///
/// The passes are generic over the number type, so that one definition runs in f32 on [`Cpu`](crate::Cpu), and in f64
/// on [`Reference`](crate::Reference), where [`gradcheck`](crate::gradcheck) compares its gradients with finite
/// differences.
///
/// **They run on the host alone**, on `Cpu` and `Reference`, and on one thread: a [`Session`](crate::Session) on a GPU
/// refuses plans that have a custom operation, with [`Error::NoCustom`].
///
/// ```
/// use engine::*;
///
/// /// `y = a x`, with `a [1]` for all elements of `x`.
/// #[derive(Debug)]
/// struct Scale;
///
/// impl CustomOp for Scale {
///     fn name(&self) -> &'static str {
///         "scale"
///     }
///
///     fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
///         match inputs {
///             [x, a] if a.len() == 1 => Ok(*x),
///             _ => Err(format!("expected x and a [1], got {inputs:?}")),
///         }
///     }
///
///     fn forward<T: Element>(&self, inputs: &[View<'_, T>], y: &mut [T], _: &mut [T]) {
///         let (x, a) = (inputs[0].data, inputs[1].data[0]);
///         y.iter_mut().zip(x).for_each(|(y, x)| *y = a * *x);
///     }
///
///     fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
///         let (x, a) = (of.inputs[0].data, of.inputs[1].data[0]);
///         let [dx, da] = gradients else { unreachable!("as many as inputs") };
///         if let Some(dx) = dx {
///             dx.iter_mut().zip(of.dy).for_each(|(dx, dy)| *dx = a * *dy);
///         }
///         if let Some(da) = da {
///             da[0] = T::ZERO;
///             x.iter().zip(of.dy).for_each(|(x, dy)| da[0] += *x * *dy);
///         }
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut graph = Graph::new();
/// let x = graph.input("x", [2, 3])?;
/// let a = graph.parameter("a", [1], Init::Ones)?;
/// let y = graph.custom(Scale, &[x, a])?;
///
/// let options = GradcheckOptions::default();
/// let report = gradcheck::check(&graph, y, &options)?;
/// assert!(report.passed(), "{report}");
/// let report = gradcheck::check_backend(Cpu::new(1).expect("a thread"), &graph, y, &options)?;
/// assert!(report.passed(), "{report}");
/// # Ok(())
/// # }
/// ```
pub trait CustomOp: fmt::Debug + Send + Sync + 'static {
    /// Its name in messages, and at the beginning of its nodes' names.
    fn name(&self) -> &'static str;

    /// Shape of the output for inputs of these shapes.
    ///
    /// # Errors
    /// What was expected of the inputs, and what they are, if they do not fit. Recording fails with this message.
    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String>;

    /// Shape of the auxiliary: values that `forward` computes beside the output and `backward` reads, such as the sums
    /// of a softmax. By default there are none.
    fn auxiliary(&self, inputs: &[Shape]) -> Option<Shape> {
        let _ = inputs;
        None
    }

    /// Computes every element of the output and of the auxiliary, which is empty if there is none. On entry they are
    /// unspecified.
    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], auxiliary: &mut [T]);

    /// Computes every element of the wanted gradients. On entry they are unspecified. The `i`th gradient is that of the
    /// `i`th input, or `None` if it is not wanted.
    ///
    /// The gradient is that of this use alone: if a value has several readers, the engine adds up their gradients.
    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]);
}

/// What the backward pass of a [`CustomOp`] reads.
#[derive(Clone, Copy, Debug)]
pub struct BackwardInputs<'a, T> {
    /// The inputs.
    pub inputs: &'a [View<'a, T>],
    /// The output that `forward` computed for these inputs.
    pub output: &'a [T],
    /// The auxiliary that `forward` computed, empty if there is none.
    pub auxiliary: &'a [T],
    /// Gradient of the output.
    pub dy: &'a [T],
}

/// The elements of a value, with its shape; the innermost dimension is contiguous.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    /// Sizes of the dimensions.
    pub shape: Shape,
    /// The elements.
    pub data: &'a [T],
}

/// A [`CustomOp`] without generic methods, for use as a trait object.
trait Erased: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String>;
    fn auxiliary(&self, inputs: &[Shape]) -> Option<Shape>;
    fn forward_f32(&self, inputs: &[View<'_, f32>], output: &mut [f32], auxiliary: &mut [f32]);
    fn forward_f64(&self, inputs: &[View<'_, f64>], output: &mut [f64], auxiliary: &mut [f64]);
    fn backward_f32(&self, of: BackwardInputs<'_, f32>, gradients: &mut [Option<&mut [f32]>]);
    fn backward_f64(&self, of: BackwardInputs<'_, f64>, gradients: &mut [Option<&mut [f64]>]);
}

impl<O: CustomOp> Erased for O {
    fn name(&self) -> &'static str {
        CustomOp::name(self)
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        CustomOp::shape(self, inputs)
    }

    fn auxiliary(&self, inputs: &[Shape]) -> Option<Shape> {
        CustomOp::auxiliary(self, inputs)
    }

    fn forward_f32(&self, inputs: &[View<'_, f32>], output: &mut [f32], auxiliary: &mut [f32]) {
        self.forward(inputs, output, auxiliary);
    }

    fn forward_f64(&self, inputs: &[View<'_, f64>], output: &mut [f64], auxiliary: &mut [f64]) {
        self.forward(inputs, output, auxiliary);
    }

    fn backward_f32(&self, of: BackwardInputs<'_, f32>, gradients: &mut [Option<&mut [f32]>]) {
        self.backward(of, gradients);
    }

    fn backward_f64(&self, of: BackwardInputs<'_, f64>, gradients: &mut [Option<&mut [f64]>]) {
        self.backward(of, gradients);
    }
}

/// A user's operation in a graph.
#[derive(Clone, Debug)]
pub(crate) struct Custom(Arc<dyn Erased>);

/// A pass of a user's operation on inputs of known shapes.
#[derive(Clone, Debug)]
struct CustomPass {
    op: Custom,
    shapes: Vec<Shape>,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// Index of the output among the operands that the backward pass reads, after the inputs.
const OUTPUT: usize = MAX_INPUTS;

/// Index of the output's gradient.
const DY: usize = MAX_INPUTS + 1;

/// Index of the auxiliary.
const AUXILIARY: usize = MAX_INPUTS + 2;

impl CustomPass {
    /// The inputs with their shapes, followed by empty views.
    fn views<'a, T>(&self, reads: [&'a [T]; MAX_OPERANDS]) -> [View<'a, T>; MAX_INPUTS] {
        std::array::from_fn(|i| View { shape: self.shapes.get(i).copied().unwrap_or([1].into()), data: reads[i] })
    }
}

fn backward_inputs<'a, T>(inputs: &'a [View<'a, T>], reads: [&'a [T]; MAX_OPERANDS]) -> BackwardInputs<'a, T> {
    BackwardInputs { inputs, output: reads[OUTPUT], auxiliary: reads[AUXILIARY], dy: reads[DY] }
}

/// The gradients that are wanted.
fn wanted<T>(writes: [&mut [T]; MAX_OPERANDS]) -> [Option<&mut [T]>; MAX_OPERANDS] {
    writes.map(|gradient| (!gradient.is_empty()).then_some(gradient))
}

impl Function for CustomPass {
    fn name(&self) -> &'static str {
        match self.direction {
            Direction::Forward => "custom.forward",
            Direction::Backward => "custom.backward",
        }
    }

    fn run_f32(&self, reads: [&[f32]; MAX_OPERANDS], writes: [&mut [f32]; MAX_OPERANDS]) {
        let inputs = &self.views(reads)[..self.shapes.len()];
        match self.direction {
            Direction::Forward => {
                let [output, auxiliary, ..] = writes;
                self.op.0.forward_f32(inputs, output, auxiliary);
            }
            Direction::Backward => {
                let of = backward_inputs(inputs, reads);
                self.op.0.backward_f32(of, &mut wanted(writes)[..inputs.len()]);
            }
        }
    }

    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]) {
        let inputs = &self.views(reads)[..self.shapes.len()];
        match self.direction {
            Direction::Forward => {
                let [output, auxiliary, ..] = writes;
                self.op.0.forward_f64(inputs, output, auxiliary);
            }
            Direction::Backward => {
                let of = backward_inputs(inputs, reads);
                self.op.0.backward_f64(of, &mut wanted(writes)[..inputs.len()]);
            }
        }
    }
}

impl Graph {
    /// An operation of your own on one to six inputs: see [`CustomOp`].
    ///
    /// # Errors
    /// If there are fewer or more inputs, or the operation's shape rule refuses them.
    pub fn custom(&mut self, op: impl CustomOp, inputs: &[NodeId]) -> Result<NodeId> {
        let name = CustomOp::name(&op);
        if inputs.is_empty() || inputs.len() > MAX_INPUTS {
            let message = format!("a custom operation has 1 to {MAX_INPUTS} inputs, not {}", inputs.len());
            return Err(Error::Params { op: name, node: format!("{name}_{}", self.len()), message });
        }
        self.record(name, Custom(Arc::new(op)), inputs)
    }
}

impl Custom {
    /// Shape of the auxiliary, if there is one.
    fn auxiliary(&self, cx: &Emitter<'_>) -> Option<Shape> {
        self.0.auxiliary(&shapes(cx))
    }

    /// The call of a pass, with no operands yet.
    fn call(&self, cx: &Emitter<'_>, direction: Direction) -> custom::Custom {
        let shapes = shapes(cx);
        let function = Arc::new(CustomPass { op: self.clone(), shapes, direction });
        custom::Custom { function, reads: [Span::EMPTY; MAX_OPERANDS], writes: [Span::EMPTY; MAX_OPERANDS] }
    }
}

/// Shapes of the inputs.
fn shapes(cx: &Emitter<'_>) -> Vec<Shape> {
    (0..cx.inputs()).map(|i| cx.shape(i)).collect()
}

impl Operation for Custom {
    fn kind(&self) -> &'static str {
        self.0.name()
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let shapes: Vec<Shape> = arguments.list.iter().map(|argument| argument.shape).collect();
        let shape = self.0.shape(&shapes).map_err(|message| arguments.wrong_params(message))?;
        match self.0.auxiliary(&shapes).filter(|shape| !shape.is_valid()) {
            Some(wrong) => Err(arguments.wrong_params(format!("auxiliary {wrong} has no elements, or too many"))),
            None => Ok(shape),
        }
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let mut call = self.call(cx, Direction::Forward);
        (0..cx.inputs()).for_each(|i| call.reads[i] = cx.input(i));
        call.writes[0] = cx.output();
        if let Some(shape) = self.auxiliary(cx) {
            call.writes[1] = cx.new_auxiliary(shape);
        }
        cx.emit(call);
    }

    /// Reads all inputs, the output, its gradient and the auxiliary. It always sets gradients: what has to be added
    /// goes to a separate value first, so that users need not tell the two apart.
    fn backward(&self, cx: &mut Emitter<'_>) {
        let mut call = self.call(cx, Direction::Backward);
        let mut added = Vec::new();
        for i in 0..cx.inputs() {
            call.reads[i] = cx.input(i);
            let (dx, write) = cx.gradient(i);
            call.writes[i] = dx;
            if write == Write::Add {
                let value = cx.new_value(cx.shape(i));
                call.writes[i] = value;
                added.push((value, dx));
            }
        }
        call.reads[OUTPUT] = cx.output();
        call.reads[DY] = cx.dy();
        if self.auxiliary(cx).is_some() {
            call.reads[AUXILIARY] = cx.auxiliary(0);
        }
        cx.emit(call);
        for (x, y) in added {
            cx.emit(add::Scale { weight: 1.0, x, y, write: Write::Add });
        }
    }
}

impl Cases for Custom {
    fn cases() -> Vec<Case> {
        let arguments = [("a", [2, 3].into()), ("b", [3].into())];
        let product =
            Case::new("custom", "product", &arguments, |graph, a| graph.custom(Product, a)).linear_in(&[&[0], &[1]]);
        let square = Case::new("custom", "product with itself", &[("a", [4].into())], |graph, a| {
            graph.custom(Product, &[a[0], a[0]])
        });
        vec![product, square]
    }

    fn random_cases(random: &mut Random) -> Vec<Case> {
        let [rows, channels] = [random.within(1..=9), random.within(1..=9)];
        let (a, b) = (Shape::from([rows, channels]), Shape::from([channels]));
        let case =
            Case::new("custom", format!("product {a} {b}"), &[("a", a), ("b", b)], |graph, a| graph.custom(Product, a));
        vec![case.linear_in(&[&[0], &[1]])]
    }
}

/// The product of every row of `a [.., C]` with `b [C]`, for the gradient checks of custom operations.
#[derive(Debug)]
struct Product;

impl CustomOp for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        match inputs {
            [a, b] if b.dims() == [a.channels()] => Ok(*a),
            _ => Err(format!("expected a [.., C] and b [C], got {inputs:?}")),
        }
    }

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T], _: &mut [T]) {
        let (a, b) = (inputs[0].data, inputs[1].data);
        output.iter_mut().enumerate().for_each(|(i, y)| *y = a[i] * b[i % b.len()]);
    }

    fn backward<T: Element>(&self, of: BackwardInputs<'_, T>, gradients: &mut [Option<&mut [T]>]) {
        let (a, b) = (of.inputs[0].data, of.inputs[1].data);
        if let Some(da) = &mut gradients[0] {
            da.iter_mut().enumerate().for_each(|(i, da)| *da = of.dy[i] * b[i % b.len()]);
        }
        if let Some(db) = &mut gradients[1] {
            db.fill(T::ZERO);
            a.iter().zip(of.dy).enumerate().for_each(|(i, (a, dy))| db[i % b.len()] += *a * *dy);
        }
    }
}
