//! `box`: rectangles are missing.

use super::damage::{Damage, Damaged, Draws, Kind};
use super::parameters::Range;
use std::fmt;

/// Rectangles at random places inside the image become black. They may overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Boxes {
    /// How many.
    count: Range<u32>,
    /// Their height, as a share of the image's, and drawn by itself their width. They are a pixel at least.
    side: Range,
}

impl Default for Boxes {
    fn default() -> Boxes {
        Boxes { count: Range::new(1u32, 1u32), side: Range::new(0.25, 0.5) }
    }
}

impl Kind for Boxes {
    const FORM: &'static str = "box[:COUNT[:SIDE]]";
    const ABOUT: &'static str = "1 to 100 rectangles are missing: box is box:1:0.25..0.5";

    fn parse(parameters: &[&str]) -> Option<Boxes> {
        let default = Boxes::default();
        let count = |text| Range::parse(text, 1u32..=100);
        Some(match parameters {
            [] => default,
            [number] => Boxes { count: count(number)?, ..default },
            [number, side] => Boxes { count: count(number)?, side: Range::parse(side, 0.0..=1.0)? },
            _ => return None,
        })
    }
}

impl Damage for Boxes {
    fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        for _ in 0..self.count.draw(draws) {
            let area = [image.height, image.width].map(|whole| {
                let side = ((self.side.draw(draws) * whole as f64).round() as usize).max(1);
                let first = draws.below((whole - side + 1) as u32) as usize;
                first..first + side
            });
            image.blank_area(area);
        }
    }

    fn is_mask(&self) -> bool {
        true
    }
}

impl fmt::Display for Boxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Boxes { count, side }, default) = (self, Boxes::default());
        f.write_str("box")?;
        if *self != default {
            write!(f, ":{count}")?;
        }
        if *side == default.side { Ok(()) } else { write!(f, ":{side}") }
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::tests::{damaged, image};

    /// The rows and the columns of the pixels that are missing: how many, the first and the last one.
    fn extent(missing: &[bool], width: usize) -> [[usize; 3]; 2] {
        let of = |position: fn(usize, usize) -> usize, count: usize| {
            let lines: Vec<usize> = (0..count)
                .filter(|line| missing.iter().enumerate().any(|(i, m)| *m && position(i, width) == *line))
                .collect();
            [lines.len(), lines[0], lines[lines.len() - 1]]
        };
        [of(|i, width| i / width, missing.len() / width), of(|i, width| i % width, width)]
    }

    #[test]
    fn a_rectangle_has_the_sides_that_were_asked_for() {
        let (mut sides, mut firsts) = ([vec![], vec![]], [vec![], vec![]]);
        for place in 0..400 {
            for channels in [1, 3] {
                let size = [24, 40];
                let now = damaged("box", size, channels, place);
                let missing: Vec<bool> = now.known.iter().map(|known| !known).collect();
                for (axis, [count, first, last]) in extent(&missing, 40).into_iter().enumerate() {
                    assert_eq!(count, last - first + 1);
                    assert!((size[axis] / 4..=size[axis] / 2).contains(&count));
                    sides[axis].push(count);
                    firsts[axis].push(first);
                }
                let [[rows, ..], [columns, ..]] = extent(&missing, 40);
                assert_eq!(missing.iter().filter(|missing| **missing).count(), rows * columns);
                let before = image(size, channels);
                for (pixel, missing) in missing.iter().enumerate() {
                    let of = pixel * channels..(pixel + 1) * channels;
                    let expected = if *missing { vec![0.0; channels] } else { before[of.clone()].to_vec() };
                    assert_eq!(now.pixels[of], expected);
                }
            }
        }
        // All sides occur, and the rectangles lie everywhere.
        for (axis, size) in [24, 40].into_iter().enumerate() {
            assert_eq!([sides[axis].iter().min(), sides[axis].iter().max()], [Some(&(size / 4)), Some(&(size / 2))]);
            assert_eq!(firsts[axis].iter().min(), Some(&0));
            assert!(firsts[axis].iter().max() > Some(&(size / 2)));
        }
    }

    #[test]
    fn several_rectangles_are_drawn_each_by_itself() {
        let missing =
            |task: &str, place| damaged(task, [64, 64], 1, place).known.iter().filter(|known| !**known).count();
        for place in 0..50 {
            assert_eq!(missing("box:1:1/8", place), 64);
            let of_five = missing("box:5:1/8", place);
            assert!((65..=5 * 64).contains(&of_five), "{of_five}");
            assert_eq!(missing("box:1:1", place), 64 * 64);
            assert_eq!(missing("box:1:0", place), 1);
        }
        let counts: Vec<usize> = (0..200).map(|place| missing("box:1..3:0", place)).collect();
        assert_eq!([counts.iter().min(), counts.iter().max()], [Some(&1), Some(&3)]);
    }

    #[test]
    fn draws_are_pinned() {
        // A change would make old runs impossible to repeat, and validations incomparable. An independent
        // implementation of ChaCha8 gave these, too.
        let boxes: Vec<[[usize; 3]; 2]> = (0..3)
            .map(|place| {
                let known = damaged("box", [24, 40], 1, place).known;
                extent(&known.iter().map(|known| !known).collect::<Vec<_>>(), 40)
            })
            .collect();
        assert_eq!(boxes, [[[10, 8, 17], [18, 17, 34]], [[9, 12, 20], [12, 13, 24]], [[12, 5, 16], [12, 17, 28]]]);
    }
}
