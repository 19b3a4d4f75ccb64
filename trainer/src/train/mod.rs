//! The training run: from settings to a folder with a trained network, its curve and its pictures.
//!
//! The state of a run is the network's tensors, the optimizer's moments and a [`Position`](checkpoint::Position).
//! Everything else (learning rate, order of the images, their squares and their damage) is computed from the position
//! and the settings. A checkpoint is that state, so a resumed run gives the same bits as one that was not interrupted.
//!
//! # The life of a batch
//!
//! From the dataset's files to the update of the weights:
//!
//! 1. **Files.** `data::open` reads the images, in whichever format they come (`data/formats/`). They are in memory
//!    from then on, a byte a channel (`Dataset`), but for pictures beyond `--data-memory`.
//! 2. **Which images.** `Stepper::advance` (`step.rs`) takes the next step at the run's position. The n-th image of the
//!    run is that of `Sampler` (`data/sampler.rs`): a permutation of all images for each epoch, drawn from the seed.
//!    `Patches` (`data/patches.rs`) draws which square of it the network sees, if it is a large picture.
//! 3. **The task.** `TrainingBatches::fill` (`tasks/batches.rs`) writes each square into the target, and into the input
//!    what the [`Task`](crate::tasks::Task) leaves of it, by numbers that the seed and the position draw. Of several
//!    ranks, each fills its own share of the batch only.
//! 4. **To the device.** `NetworkPlan::write` (`plans.rs`) gives both to the session. On the CPU, that is a copy into
//!    the session's inputs. On a GPU, it is a copy into pinned memory, from which the device reads while it still
//!    computes the step before.
//! 5. **The step.** `Session::start_step` runs the plan of this batch size: forward, loss, backward, and AdamW with the
//!    learning rate of the schedule. With several ranks, it sums the statistics of batch norm and the gradients over
//!    all of them. A step whose loss or gradients are not finite changes nothing.
//! 6. **Overlap.** A GPU is given up to 32 steps, or as many as start within 0.2 s, before the host waits: the host
//!    fills the next batch while the device computes. It stops at a step that is followed by a validation or a
//!    checkpoint. The CPU computes one step at a time, on all its threads.
//! 7. **Results.** `Session::finish_steps` waits for the device and reads the losses. `TrainingLoop::advance`
//!    (`training_loop.rs`) writes them to `metrics.csv` and TensorBoard's events (`records.rs`, `log.rs`) and shows the
//!    progress. If a step was not finite, `Stepper::not_finite` finds the node where it began, and the run ends or
//!    skips the step.
//! 8. **Between steps**, as the settings say: `TrainingLoop::validate` runs the validation images, renews the picture
//!    (`Validator` and `Preview` in [`validation`](crate::validation)) and calls back for the report;
//!    `TrainingLoop::save` writes a checkpoint ([`RunFolder`]). Nothing is computed meanwhile.
//! 9. **The end.** `train_on` (`run.rs`) writes the weights, and `finish.rs` the summary and the loss curve.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `run` | what a run does, from its start to its end |
//! | `start` | how it begins, or goes on where an earlier process stopped |
//! | [`backend`] | what computes it |
//! | `plans`, `prepare` | which plans it has, and what it is going to cost |
//! | `training_loop`, `pace` | when it validates, writes a checkpoint and stops, and how long it takes |
//! | `step` | what a step is |
//! | `ranks` | how several processes train together |
//! | [`checkpoint`] | how its state is kept |
//! | `folder`, `records`, [`log`], `live`, `finish` | what it writes |
//! | `error` | why it fails |

pub mod backend;
pub mod checkpoint;
mod error;
mod finish;
mod folder;
mod live;
pub mod log;
mod pace;
pub(crate) mod plans;
mod prepare;
mod ranks;
mod records;
mod run;
mod start;
mod step;
mod training_loop;

pub use error::{NotFinite, RankError, Stopped, TrainError};
pub(crate) use folder::Failure;
pub use folder::{FolderError, Resumable, ResumePoint, RunFolder};
pub(crate) use live::Live;
pub use plans::PlanError;
pub use prepare::plan_text;
pub(crate) use prepare::{Estimate, estimate};
pub use ranks::{release_followers, train_as_follower};
pub(crate) use records::ValidationRow;
pub use run::{RunContext, train, train_with};
pub use start::Start;
