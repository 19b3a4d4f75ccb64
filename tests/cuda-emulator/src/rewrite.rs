//! Turns preprocessed CUDA into C++, where a macro of `shim.h` can't.
//!
//! - `__shared__ float tile[8][33];` becomes `float (&tile)[8][33] = ...`, a reference to memory of this size that the
//!   scheduler gives to each block. A variable of the host program would work, too, but a sanitizer would not always
//!   see its end (GCC puts no red zones around variables in templates), and values left by one block would look like a
//!   race with the next.
//! - `#pragma unroll` becomes GCC's, or nothing.
//! - The names of the kernels are collected.

/// The text for the host compiler.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// The `__global__` functions, in order.
    pub(crate) kernels: Vec<String>,
}

/// `source`: the output of the preprocessor, in which `__shared__` and `__global__` are not macros. The error says what
/// was expected.
pub(crate) fn rewrite(source: &str, unroll: bool) -> Result<Rewritten, String> {
    let mut text = String::with_capacity(source.len() + 1024);
    let mut kernels = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let line_start = text.is_empty() || text.ends_with('\n');
        if let Some(pragma) = rest.strip_prefix("#pragma unroll").filter(|_| line_start) {
            let (line, after) = pragma.split_once('\n').unwrap_or((pragma, ""));
            if unroll {
                text += &unroll_pragma(line);
            }
            text.push('\n');
            rest = after;
            continue;
        }
        let word = rest.len() - rest.trim_start_matches(is_word).len();
        if word == 0 {
            let c = rest.chars().next().unwrap_or_default();
            text.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        match &rest[..word] {
            "__shared__" => {
                let Some(end) = rest.find(';') else { return Err("`__shared__` without a `;`".to_string()) };
                let dynamic = take_back(&mut text, "extern");
                take_back(&mut text, "static");
                text += &shared(rest[word..end].trim(), dynamic)?;
                rest = &rest[end..];
            }
            "__global__" => {
                kernels.push(kernel_name(&rest[word..])?);
                text += &rest[..word];
                rest = &rest[word..];
            }
            _ => {
                text += &rest[..word];
                rest = &rest[word..];
            }
        }
    }
    Ok(Rewritten { text, kernels })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Removes `word` from the end of `text`, if it is there.
fn take_back(text: &mut String, word: &str) -> bool {
    let trimmed = text.trim_end();
    let Some(before) = trimmed.strip_suffix(word).filter(|before| !before.ends_with(is_word)) else { return false };
    let (keep, gap) = (before.len(), text[trimmed.len()..].to_string());
    text.truncate(keep);
    text.push_str(&gap);
    true
}

/// `argument`: what follows `#pragma unroll`: nothing, `4` or `(4)`.
fn unroll_pragma(argument: &str) -> String {
    let argument = argument.trim().trim_start_matches('(').trim_end_matches(')').trim();
    match argument {
        "" => "#pragma GCC unroll 128".to_string(),
        count if count.bytes().all(|b| b.is_ascii_digit()) => format!("#pragma GCC unroll {count}"),
        // GCC takes constant expressions, too, but none that depend on a template.
        _ => String::new(),
    }
}

/// The declaration after `__shared__`, without its `;`.
fn shared(declaration: &str, dynamic: bool) -> Result<String, String> {
    let unexpected =
        || format!("`__shared__ {declaration};`, expected one array or variable, as `__shared__ float tile[8][33];`");
    if declaration.contains('=') {
        return Err(unexpected());
    }
    let mut declaration = declaration;
    let mut alignment = None;
    for keyword in ["__align__", "alignas"] {
        if let Some(after) = declaration.strip_prefix(keyword) {
            let (argument, after) =
                after.trim_start().strip_prefix('(').and_then(|a| a.split_once(')')).ok_or_else(unexpected)?;
            (alignment, declaration) = (Some(argument.to_string()), after.trim());
        }
    }
    let declarator_end = declaration.find('[').unwrap_or(declaration.len());
    let (head, dimensions) = (declaration[..declarator_end].trim_end(), &declaration[declarator_end..]);
    let name_start = head.trim_end_matches(is_word).len();
    let (kind, name) = (head[..name_start].trim(), &head[name_start..]);
    if kind.is_empty() || name.is_empty() || (kind.contains(',') && !kind.contains('<')) || dimensions.contains(',') {
        return Err(unexpected());
    }
    if dynamic {
        return Ok(format!("{kind}* {name} = static_cast<{kind}*>(cuda_emulator::dynamic_shared())"));
    }
    let alignment = alignment.unwrap_or(format!("alignof({kind})"));
    Ok(format!(
        "static cuda_emulator::SharedSlot cuda_emulator_slot_{name}; {kind} (&{name}){dimensions} = \
         *static_cast<{kind} (*){dimensions}>(cuda_emulator_slot_{name}.get(sizeof({kind}{dimensions}), {alignment}))"
    ))
}

/// The name in what follows `__global__`: `void __launch_bounds__(256) name(...`, in either order.
fn kernel_name(after: &str) -> Result<String, String> {
    let mut rest = after;
    loop {
        let start = rest.find(is_word).ok_or("`__global__` without a function")?;
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, next) = (&rest[..end], rest[end..].trim_start());
        if word == "__launch_bounds__" || word == "__attribute__" {
            let close = matching_parenthesis(next).ok_or("`__launch_bounds__` without parentheses")?;
            rest = &next[close + 1..];
        } else if next.starts_with('(') {
            return Ok(word.to_string());
        } else if next.starts_with('<') {
            return Err(format!("kernel `{word}` is a template, expected `extern \"C\" __global__ void {word}(...)`"));
        } else {
            rest = next;
        }
    }
}

fn matching_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(i),
            ')' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> String {
        rewrite(source, true).unwrap().text
    }

    #[test]
    fn kernels_are_found_in_either_spelling() {
        let source = "extern \"C\" __global__ void a(int n) {}\nextern \"C\" __global__ void __launch_bounds__(128, (2)) b(int n) {}\n\
                      extern \"C\" __launch_bounds__(64) __global__ void\nc (int n);";
        assert_eq!(rewrite(source, true).unwrap().kernels, ["a", "b", "c"]);
        assert!(rewrite("__global__ void t<int>(int n)", true).is_err_and(|e| e.contains("`t` is a template")));
    }

    #[test]
    fn shared_arrays_become_references() {
        let text = rewritten("static __shared__ __align__(16) float tile[8][33];");
        assert!(!text.contains("__shared__") && !text.starts_with("static static"), "{text}");
        assert!(text.contains("float (&tile)[8][33] ="), "{text}");
        assert!(text.contains(".get(sizeof(float[8][33]), 16))"), "{text}");
        assert!(rewritten("__shared__ unsigned int flag;").contains("unsigned int (&flag) ="));
        assert!(rewritten("__shared__ Pair<int, 3> p[N];").contains("Pair<int, 3> (&p)[N] ="));
        assert!(rewritten("extern __shared__ float4 all[];").starts_with(" float4* all = static_cast<float4*>("));
    }

    #[test]
    fn what_cannot_be_rewritten_is_refused() {
        for bad in ["__shared__ float a[4], b[4];", "__shared__ float a = 1;", "__shared__ float a[4]", "__shared__ a;"]
        {
            assert!(rewrite(bad, true).is_err_and(|e| e.contains("`__shared__")), "{bad}");
        }
    }

    #[test]
    fn pragmas_are_spelled_for_gcc() {
        assert_eq!(rewritten("a\n#pragma unroll\nfor"), "a\n#pragma GCC unroll 128\nfor");
        assert_eq!(rewritten("#pragma unroll (4)\nfor"), "#pragma GCC unroll 4\nfor");
        assert_eq!(rewritten("#pragma unroll N\nfor"), "\nfor");
        assert_eq!(rewrite("#pragma unroll\nfor", false).unwrap().text, "\nfor");
    }
}
