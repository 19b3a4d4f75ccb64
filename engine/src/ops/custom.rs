//! Operations that users define.

use super::prelude::*;
use crate::Error;
use kernels::custom::{self, Function, MAX_OPERANDS};
use kernels::{Element, Span, Write, add};
use std::fmt;
use std::sync::Arc;

/// Most inputs of a [`CustomOp`]: the backward pass also reads the output and its gradient.
const MAX_INPUTS: usize = MAX_OPERANDS - 2;

/// An operation of your own: a shape rule, a forward and a backward pass. [`Graph::custom`] records it.
///
/// The passes are generic over the number type, so that one definition runs in f32 on [`Cpu`](crate::Cpu), and in f64
/// on [`Reference`](crate::Reference), where [`gradcheck`](crate::gradcheck) compares its gradients with finite
/// differences. They run on one thread, on backends whose memory is the host's.
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
///     fn forward<T: Element>(&self, inputs: &[View<'_, T>], y: &mut [T]) {
///         let (x, a) = (inputs[0].data, inputs[1].data[0]);
///         y.iter_mut().zip(x).for_each(|(y, x)| *y = a * *x);
///     }
///
///     fn backward<T: Element>(&self, inputs: &[View<'_, T>], _y: &[T], dy: &[T], gradients: &mut [Option<&mut [T]>]) {
///         let (x, a) = (inputs[0].data, inputs[1].data[0]);
///         let [dx, da] = gradients else { unreachable!("as many as inputs") };
///         if let Some(dx) = dx {
///             dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = a * *dy);
///         }
///         if let Some(da) = da {
///             da[0] = x.iter().zip(dy).fold(T::from_f64(0.0), |sum, (x, dy)| sum + *x * *dy);
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

    /// Computes every element of the output. On entry they are unspecified.
    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T]);

    /// Computes every element of the wanted gradients. On entry they are unspecified. The `i`th gradient is that of the
    /// `i`th input, or `None` if it is not wanted. `output` is what `forward` computed for these inputs, and `dy` is
    /// its gradient.
    ///
    /// The gradient is that of this use alone: if a value has several readers, the engine adds up their gradients.
    fn backward<T: Element>(&self, inputs: &[View<'_, T>], output: &[T], dy: &[T], gradients: &mut [Option<&mut [T]>]);
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
    fn forward_f32(&self, inputs: &[View<'_, f32>], output: &mut [f32]);
    fn forward_f64(&self, inputs: &[View<'_, f64>], output: &mut [f64]);
    fn backward_f32(&self, inputs: &[View<'_, f32>], output: &[f32], dy: &[f32], gradients: &mut [Option<&mut [f32]>]);
    fn backward_f64(&self, inputs: &[View<'_, f64>], output: &[f64], dy: &[f64], gradients: &mut [Option<&mut [f64]>]);
}

impl<O: CustomOp> Erased for O {
    fn name(&self) -> &'static str {
        CustomOp::name(self)
    }

    fn shape(&self, inputs: &[Shape]) -> std::result::Result<Shape, String> {
        CustomOp::shape(self, inputs)
    }

    fn forward_f32(&self, inputs: &[View<'_, f32>], output: &mut [f32]) {
        self.forward(inputs, output);
    }

    fn forward_f64(&self, inputs: &[View<'_, f64>], output: &mut [f64]) {
        self.forward(inputs, output);
    }

    fn backward_f32(&self, inputs: &[View<'_, f32>], output: &[f32], dy: &[f32], gradients: &mut [Option<&mut [f32]>]) {
        self.backward(inputs, output, dy, gradients);
    }

    fn backward_f64(&self, inputs: &[View<'_, f64>], output: &[f64], dy: &[f64], gradients: &mut [Option<&mut [f64]>]) {
        self.backward(inputs, output, dy, gradients);
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

impl CustomPass {
    /// The inputs with their shapes, followed by empty views.
    fn views<'a, T>(&self, reads: [&'a [T]; MAX_OPERANDS]) -> [View<'a, T>; MAX_INPUTS] {
        std::array::from_fn(|i| View { shape: self.shapes.get(i).copied().unwrap_or([1].into()), data: reads[i] })
    }
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
            Direction::Forward => self.op.0.forward_f32(inputs, writes[0]),
            Direction::Backward => {
                self.op.0.backward_f32(inputs, reads[OUTPUT], reads[DY], &mut wanted(writes)[..inputs.len()]);
            }
        }
    }

    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]) {
        let inputs = &self.views(reads)[..self.shapes.len()];
        match self.direction {
            Direction::Forward => self.op.0.forward_f64(inputs, writes[0]),
            Direction::Backward => {
                self.op.0.backward_f64(inputs, reads[OUTPUT], reads[DY], &mut wanted(writes)[..inputs.len()]);
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
    /// The call of a pass, with no operands yet.
    fn call(&self, cx: &Emitter<'_>, direction: Direction) -> custom::Custom {
        let shapes = (0..cx.inputs()).map(|i| cx.shape(i)).collect();
        let function = Arc::new(CustomPass { op: self.clone(), shapes, direction });
        custom::Custom { function, reads: [Span::EMPTY; MAX_OPERANDS], writes: [Span::EMPTY; MAX_OPERANDS] }
    }
}

impl Operation for Custom {
    fn kind(&self) -> &'static str {
        self.0.name()
    }

    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        let shapes: Vec<Shape> = arguments.list.iter().map(|argument| argument.shape).collect();
        self.0.shape(&shapes).map_err(|message| arguments.wrong_params(message))
    }

    fn forward(&self, cx: &mut Emitter<'_>) {
        let mut call = self.call(cx, Direction::Forward);
        (0..cx.inputs()).for_each(|i| call.reads[i] = cx.input(i));
        call.writes[0] = cx.output();
        cx.emit(call);
    }

    /// Reads all inputs, the output and its gradient. It always sets gradients: what has to be added goes to a separate
    /// value first, so that users need not tell the two apart.
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

    fn forward<T: Element>(&self, inputs: &[View<'_, T>], output: &mut [T]) {
        let (a, b) = (inputs[0].data, inputs[1].data);
        output.iter_mut().enumerate().for_each(|(i, y)| *y = a[i] * b[i % b.len()]);
    }

    fn backward<T: Element>(
        &self,
        inputs: &[View<'_, T>],
        _output: &[T],
        dy: &[T],
        gradients: &mut [Option<&mut [T]>],
    ) {
        let (a, b) = (inputs[0].data, inputs[1].data);
        if let Some(da) = &mut gradients[0] {
            da.iter_mut().enumerate().for_each(|(i, da)| *da = dy[i] * b[i % b.len()]);
        }
        if let Some(db) = &mut gradients[1] {
            db.fill(T::from_f64(0.0));
            a.iter().zip(dy).enumerate().for_each(|(i, (a, dy))| db[i % b.len()] = db[i % b.len()] + *a * *dy);
        }
    }
}
