//! [`Group`]: parameters that the optimizer treats alike.

/// What a step multiplies its learning rate and weight decay by for some of the parameters. All parameters with the
/// same factors are a group.
///
/// ```
/// use engine::{Graph, Group, Init};
///
/// # fn main() -> engine::Result<()> {
/// let mut graph = Graph::new();
/// let bias = graph.parameter("bias", [8], Init::Zeros)?;
/// graph.set_group(bias, Group { weight_decay: 0.0, ..Group::default() })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor of the learning rate. With 0, parameters are frozen: they have no gradients, and keep their values.
    pub lr: f64,
    /// Factor of the weight decay.
    pub weight_decay: f64,
}

impl Default for Group {
    fn default() -> Group {
        Group { lr: 1.0, weight_decay: 1.0 }
    }
}

impl Group {
    /// The parameters that are not trained.
    pub const FROZEN: Group = Group { lr: 0.0, weight_decay: 0.0 };

    pub(crate) fn is_frozen(&self) -> bool {
        self.lr == 0.0
    }

    /// What is wrong with the factors.
    pub(super) fn problem(&self) -> Option<String> {
        let Group { lr, weight_decay } = *self;
        let wrong =
            [("lr", lr), ("weight_decay", weight_decay)].into_iter().find(|(_, x)| !(*x >= 0.0 && x.is_finite()));
        wrong.map(|(factor, value)| format!("the group's `{factor}` is {value}, expected at least 0 and finite"))
    }
}
