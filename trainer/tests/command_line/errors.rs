//! Every mistake ends with one clear message and an exit code, without a panic, and with nothing half-written.

use crate::common::{Place, TEST_IMAGES, failure, fixture, text, train};
use std::fs;

#[test]
fn settings_that_cannot_be_are_refused() {
    let place = Place::new();
    for (flag, told) in [
        ("--layers=0", "--layers: expected 1 to 1000, got 0"),
        ("--batch=0", "--batch: expected a whole number from 1 to 65536, got 0"),
        ("--lr=nan", "--lr: expected a finite number above 0, got NaN"),
        ("--lr=-1", "--lr: expected a finite number above 0, got -1"),
        ("--groups=3", "--groups: expected a divisor of the 4 channels of encoder layer 1, got 3"),
        // whether there is a driver or not
        ("--device=cuda:99", "--device cuda:99: "),
        ("--config=nowhere.toml", "could not read nowhere.toml: "),
    ] {
        let message = place.fail(&train(&["--out=run", flag]));
        assert!(message.starts_with(told), "{message}");
        assert_eq!(place.files("run"), [""; 0], "{flag}");
    }
    let message = place.fail(&train(&["--out=run", "--padding=0", "--kernel-size=9"]));
    assert!(message.contains("encoder.layer_1") && message.contains("8x8"), "{message}");
    assert_eq!(place.files("run"), [""; 0]);
}

#[test]
fn flags_that_are_no_flags_are_usage_errors() {
    let place = Place::new();
    for arguments in [
        &["train", "--lyers=3"][..],
        &["train", "--layers=many"],
        &["train", "--layers", "-1"],
        &["train", "--lr"],
        &["train", "--activation=gulu"],
        &["train", "--seed=99999999999999999999"],
        &["train", "--resume", "--force"],
        &["restore", "x.safetensors"],
        &["restore", "x.safetensors", "--missing=left", "--mask=m.png", "a.png"],
        &["restore", "x.safetensors", "--missing=middle", "a.png"],
        &["eval"],
        &[],
    ] {
        let output = place.run(arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains("Usage: ") || err.starts_with("error: "), "{arguments:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
    // A negative number is the flag's value, not a flag.
    assert_eq!(place.fail(&["train", "--lr", "-1"]), "--lr: expected a finite number above 0, got -1");
}

#[test]
fn a_settings_file_with_a_mistake_is_named_with_its_key() {
    let place = Place::new();
    fs::write(place.path("my.toml"), "[network]\nlyers = 3\n").unwrap();
    let output = place.run(&train(&["--config=my.toml", "--out=run"]));
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    // The message shows the line, so it has several.
    assert!(err.starts_with("error: my.toml: ") && err.contains("line 2") && err.contains("`lyers`"), "{err}");
    assert_eq!(place.files("run"), [""; 0]);
}

#[test]
fn a_dataset_that_is_not_right_is_refused() {
    let place = Place::new();
    let none = place.path("none");
    let message = place.fail(&["train", "--data", none.to_str().unwrap(), "--out=run"]);
    assert!(message.starts_with(&format!("--data: {} ", none.display())), "{message}");

    // Right in form, but not the published files.
    let message = place.fail(&["train", "--data=data", "--out=run"]);
    assert!(message.contains("data/train-images-idx3-ubyte: holds an array of 40 x 28 x 28"), "{message}");
    let message = place.fail(&["data", "--data=data"]);
    assert!(message.contains("data/train-images-idx3-ubyte: holds an array of 40 x 28 x 28"), "{message}");

    // Of the right size, with wrong content.
    for (name, count) in [("train", 60_000), ("t10k", 10_000)] {
        place.write_idx(&format!("{name}-images-idx3-ubyte"), &[count, 28, 28], &vec![0; count as usize * 784]);
        place.write_idx(&format!("{name}-labels-idx1-ubyte"), &[count], &vec![0; count as usize]);
    }
    let message = place.fail(&["train", "--data=data", "--out=run"]);
    assert!(message.contains("data/train-images-idx3-ubyte: wrong content: expected SHA-256 "), "{message}");
    assert_eq!(place.files("run"), [""; 0]);
}

#[test]
fn a_truncated_file_is_refused_even_unverified() {
    let place = Place::new();
    let file = "data/t10k-images-idx3-ubyte";
    let whole = place.read(file);
    fs::write(place.path(file), &whole[..whole.len() - 1]).unwrap();
    let message = place.fail(&train(&["--out=run"]));
    let bytes = 16 + TEST_IMAGES as usize * 784;
    let told = format!("{}: truncated: the content ends at byte {} of {bytes}", place.path(file).display(), bytes - 1);
    assert_eq!(message, told);
    fs::write(place.path(file), &whole[..9]).unwrap();
    assert!(
        place
            .fail(&["eval", &fixture("state_dict.safetensors"), "--preset=default", "--data=data", "--unverified-data"])
            .contains(file)
    );
    assert_eq!(place.files("run"), [""; 0]);
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let place = Place::new();
    let weights = fixture("state_dict.safetensors");
    let message = place.fail(&["eval", &weights, "--preset=default", "--data=data", "--unverified-data", "--layers=3"]);
    assert!(message.contains("`encoder.layer_3."), "{message}");
    assert!(message.contains("this is a checkpoint of another network"), "{message}");
    let message = place.fail(&train(&["--out=run", "--channels=5", "--init", &weights]));
    assert!(
        message.contains("tensor `encoder.layer_1.conv.weight`: expected shape [5, 1, 3, 3], got [4, 1, 3, 3]"),
        "{message}"
    );

    fs::write(place.path("words.safetensors"), "these are words, and no tensors").unwrap();
    let bytes = fs::read(&weights).unwrap();
    fs::write(place.path("short.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    for file in ["words.safetensors", "short.safetensors"] {
        for arguments in [&["eval", file][..], &["restore", file, "--missing=left", "a.png"]] {
            let message = place.fail(arguments);
            assert!(message.starts_with(&format!("{file}: not a valid safetensors file: ")), "{message}");
        }
        let message = place.fail(&train(&["--out=run", "--init", file]));
        assert!(message.contains(&format!("/{file}: not a valid safetensors file: ")), "{message}");
    }
    assert!(place.fail(&["eval", "nowhere.safetensors"]).starts_with("could not open nowhere.safetensors: "));
    let expected = "expected a file of weights or the folder of a run";
    let message = place.fail(&["eval", "data"]);
    assert_eq!(message, format!("data: a folder without model.safetensors and checkpoint.safetensors: {expected}"));
    assert_eq!(place.files("run"), [""; 0]);

    // A byte of a weight is damaged, in a file that is valid otherwise.
    place.succeed(&train(&["--samples=8", "--out=run"]));
    let mut bytes = place.read("run/checkpoint.safetensors");
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(place.path("run/checkpoint.safetensors"), bytes).unwrap();
    for arguments in [&["eval", "run/checkpoint.safetensors"][..], &["train", "--resume", "--out=run"]] {
        let message = place.fail(arguments);
        assert!(message.contains("run/checkpoint.safetensors: the content is damaged: "), "{message}");
    }
}

#[test]
fn the_run_folder_of_another_run_is_not_touched() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=run"]));
    let before: Vec<_> = place.files("run").iter().map(|name| place.read(&format!("run/{name}"))).collect();
    let message = place.fail(&train(&["--samples=8", "--out=run"]));
    assert_eq!(
        message,
        "run is not empty: continue the run in it with --resume, start it over with --force, or choose another folder with --out"
    );
    let after: Vec<_> = place.files("run").iter().map(|name| place.read(&format!("run/{name}"))).collect();
    assert!(before == after);
    fs::write(place.path("run/notes.txt"), "mine").unwrap();
    place.succeed(&train(&["--samples=8", "--out=run", "--force"]));
    assert_eq!(place.read_text("run/metrics.csv").lines().count(), 2);
    assert_eq!(place.read_text("run/notes.txt"), "mine");
}

#[test]
fn a_folder_that_cannot_be_is_refused() {
    let place = Place::new();
    fs::write(place.path("file"), "mine").unwrap();
    for (out, told) in [("file", "could not look into file: "), ("file/run", "could not look into file/run: ")] {
        let message = place.fail(&train(&["--samples=8", "--out", out]));
        assert!(message.starts_with(told), "{message}");
    }
    assert_eq!(place.read_text("file"), "mine");
    #[cfg(target_os = "linux")]
    {
        let message = place.fail(&train(&["--samples=8", "--out=/proc/run"]));
        assert!(message.starts_with("could not create /proc/run: "), "{message}");
    }
}

#[test]
fn diverging_ends_the_run_and_keeps_the_checkpoint() {
    let place = Place::new();
    let arguments = ["--samples=80", "--out=run", "--lr=1e25", "--checkpoint-every=8", "--schedule=constant"];
    let message = place.fail(&train(&arguments));
    assert!(message.starts_with("the loss became NaN at step ") && message.contains(", first in "), "{message}");
    assert!(message.contains(" of node `") && message.contains("try a lower --lr"), "{message}");
    assert!(message.ends_with("the last checkpoint is run/checkpoint.safetensors"), "{message}");
    let step: usize = message.split("at step ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(place.read_text("run/metrics.csv").lines().count(), step, "header and the steps before");
    let checkpoint = trainer::train::checkpoint::Checkpoint::read(&place.path("run/checkpoint.safetensors")).unwrap();
    assert_eq!(checkpoint.run.unwrap().position.unwrap().step as usize, step - 1);
    assert!(!place.path("run/summary.json").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_run_with_the_name_of_the_file() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path("run/metrics.csv")).unwrap();
    let message = place.fail(&train(&["--samples=8", "--out=run", "--force"]));
    assert!(message.starts_with("could not write run/metrics.csv: No space left on device"), "{message}");
}

/// As a disk that fills up during the run: files cannot grow beyond a limit, so that tables can be written and
/// checkpoints cannot.
#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_that_does_not_fit_is_not_left_half_written() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_resconv");
    let limited = |arguments: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f 8; exec {program} {}", arguments.join(" "));
        let mut command = std::process::Command::new("sh");
        failure(&command.args(["-c", &script]).current_dir(place.path("")).output().unwrap())
    };
    let message = limited(&train(&["--samples=16", "--out=run"]));
    assert!(message.starts_with("could not write run/checkpoint.safetensors: "), "{message}");
    let mut files = place.files("run");
    files.retain(|file| !file.starts_with("events.out.tfevents."));
    assert_eq!(files, ["failure.json", "metrics.csv", "settings.toml", "validation.csv"]);

    place.succeed(&train(&["--samples=16", "--out=whole"]));
    let before = place.read("whole/checkpoint.safetensors");
    let message = limited(&["train", "--resume", "--out=whole"]);
    assert!(message.starts_with("could not write whole/"), "{message}");
    assert!(before == place.read("whole/checkpoint.safetensors"), "what was there before stays");
}

/// Each process would do all the work, and write to the same folder. None of them ends as if it had done something.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_without_mpi_are_refused() {
    let place = Place::new();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        place.command(arguments).envs(variables.iter().copied()).output().unwrap()
    };
    let arguments = train(&["--samples=8", "--out=run"]);
    for names in [["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"], ["PMI_RANK", "PMI_SIZE"]] {
        for (rank, arguments) in [("0", &arguments[..]), ("1", &arguments), ("1", &["eval", "none"])] {
            let message = failure(&run(arguments, &[(names[0], rank), (names[1], "2")]));
            assert!(message.starts_with("this is one of 2 processes that mpirun or srun started"), "{message}");
            assert!(message.contains("--features mpi") && message.contains(names[0]), "{message}");
        }
        assert_eq!(place.files("run"), [""; 0]);
        assert!(run(&["--help"], &[(names[0], "0"), (names[1], "1")]).status.success());
        // The numbers that a single process finds are not always complete.
        assert!(run(&["--help"], &[(names[0], "0")]).status.success());
        let message = failure(&run(&["eval", "none"], &[(names[0], "1")]));
        assert!(message.starts_with("this is one of several processes "), "{message}");
    }
    let message = failure(&run(&["eval", "none"], &[("PMIX_RANK", "3")]));
    assert!(message.starts_with("this is one of several processes "), "{message}");
}
