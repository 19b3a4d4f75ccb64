//! The colours of charts, and of the page around them.

/// A colour on a light and on a dark background, as `0xrrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color {
    pub(super) light: u32,
    pub(super) dark: u32,
}

/// What is written, and lines as dark as text.
pub(crate) const TEXT: Color = Color::new(0x1c1e21, 0xe8eaed);
/// Text of less weight.
pub(super) const MUTED: Color = Color::new(0x5c6370, 0xa0a6b0);
/// Lines of less weight.
pub(super) const GRID: Color = Color::new(0xe3e5e8, 0x33373d);
/// The background.
pub(super) const SURFACE: Color = Color::new(0xffffff, 0x17191c);

/// The colours that the page names, too.
pub(super) const NAMED: [(&str, Color); 4] =
    [("--text", TEXT), ("--muted", MUTED), ("--grid", GRID), ("--surface", SURFACE)];

/// The named colours for the style of a page, which follow its scheme.
pub(crate) fn root_style() -> String {
    let of = |choose: fn(Color) -> u32| {
        let properties = NAMED.map(|(name, color)| format!("{name}: {};", hex(choose(color))));
        format!(":root {{ {} }}", properties.join(" "))
    };
    let (light, dark) = (of(|color| color.light), of(|color| color.dark));
    format!("{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n")
}

impl Color {
    pub(crate) const fn new(light: u32, dark: u32) -> Color {
        Color { light, dark }
    }

    /// The colour of number `i` of `count` that have an order.
    pub(crate) fn of(i: usize, count: usize) -> Color {
        let place = if count < 2 { 0.35 } else { i as f64 / (count - 1) as f64 };
        // The ends of the ramp that the background would swallow are left out.
        let [light, dark] = [0.02 + 0.76 * place, 0.36 + 0.60 * place].map(|place| {
            let [red, green, blue] = ramp(place);
            u32::from_be_bytes([0, red, green, blue])
        });
        Color { light, dark }
    }

    /// The custom properties of CSS that stand for it in a page.
    pub(crate) fn style(self) -> String {
        format!("--l:{};--d:{}", hex(self.light), hex(self.dark))
    }
}

/// `#rrggbb`
pub(super) fn hex(color: u32) -> String {
    format!("#{color:06x}")
}

/// Matplotlib's map "plasma" (by N. Smith and S. van der Walt, CC0), at an eighth each: its lightness grows evenly.
const RAMP: [[f64; 3]; 9] = [
    [13.0, 8.0, 135.0],
    [75.0, 3.0, 161.0],
    [125.0, 3.0, 168.0],
    [168.0, 34.0, 150.0],
    [203.0, 70.0, 121.0],
    [229.0, 107.0, 93.0],
    [248.0, 148.0, 65.0],
    [253.0, 195.0, 40.0],
    [240.0, 249.0, 33.0],
];

/// The colour of a place between 0 and 1 on the ramp.
pub(crate) fn ramp(place: f64) -> [u8; 3] {
    let place = place.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
    let below = (place as usize).min(RAMP.len() - 2);
    let mix = |channel: usize| {
        let [a, b] = [RAMP[below][channel], RAMP[below + 1][channel]];
        (a + (b - a) * (place - below as f64)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}
