//! `resconv train` and `resconv eval`: what a run writes and says.

use crate::common::{Place, text, train};
use std::f64::consts::PI;
use trainer::train::checkpoint::{Checkpoint, Values};

const OUTPUTS: [&str; 15] = [
    "best.safetensors",
    "checkpoint.safetensors",
    "curves.svg",
    "errors.json",
    "loss.png",
    "loss.svg",
    "metrics.csv",
    "model.safetensors",
    "reconstruction.png",
    "report.html",
    "settings.toml",
    "summary.json",
    "table.csv",
    "table.md",
    "validation.csv",
];

/// Checks that a folder has a run's files, and one file of events, whose name has the time.
fn assert_outputs(place: &Place, folder: &str) {
    let (events, others): (Vec<String>, Vec<String>) =
        place.files(folder).into_iter().partition(|name| name.starts_with("events.out.tfevents."));
    assert_eq!(others, OUTPUTS);
    assert_eq!(events.len(), 1, "{events:?}");
}

/// Rows of a table, without the header.
fn rows(table: &str) -> Vec<Vec<f64>> {
    table.lines().skip(1).map(|line| line.split(',').map(|column| column.parse().unwrap()).collect()).collect()
}

#[test]
fn a_run_writes_its_tables_pictures_weights_and_summary() {
    let place = Place::new();
    let out = place.succeed(&train(&["--samples=50", "--validate-every=24", "--out=run", "--threads=1"]));
    assert_outputs(&place, "run");

    let metrics = place.read_text("run/metrics.csv");
    assert!(metrics.starts_with("step,samples,lr,loss\n"), "{metrics}");
    let metrics = rows(&metrics);
    assert_eq!(metrics.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    // 50 images in batches of 8: the last has 2.
    assert_eq!(metrics.iter().map(|row| row[1]).collect::<Vec<_>>(), [8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 50.0]);
    for (step, row) in metrics.iter().enumerate() {
        let lr = 3e-4 * (1.0 + (PI * step as f64 / 7.0).cos()) / 2.0;
        assert!((row[2] - lr).abs() < 1e-10, "step {step}: {} and {lr}", row[2]);
        assert!(row[3] > 0.0 && row[3] < 1.0, "loss {}", row[3]);
    }

    let validation = place.read_text("run/validation.csv");
    assert!(validation.starts_with("step,samples,running,batch,psnr,ssim,missing_l1,known_l1\n"), "{validation}");
    let validation = rows(&validation);
    let at: Vec<[f64; 2]> = validation.iter().map(|row| [row[0], row[1]]).collect();
    assert_eq!(at, [[3.0, 24.0], [6.0, 48.0], [7.0, 50.0]]);

    let summary: serde_json::Value = serde_json::from_slice(&place.read("run/summary.json")).unwrap();
    assert_eq!(summary["samples"], 50);
    assert_eq!(summary["steps"], 7);
    assert_eq!(summary["parameters"], 2 + 40 + 8 + 148 + 8 + 148 + 8 + 37);
    assert_eq!(summary["threads"], 1);
    assert!(summary["study"].is_null(), "the study has no network of 4 channels");
    let last = validation.last().unwrap();
    for (statistics, column) in [("running", 2), ("batch", 3)] {
        let loss = summary["validation"][statistics]["all"].as_f64().unwrap();
        assert!((loss - last[column]).abs() < 1e-7, "{loss} and {}", last[column]);
        assert!(out.contains(&format!("{loss:.5}")), "{out}");
    }
    for (measure, column) in [("psnr", 4), ("ssim", 5), ("missing_l1", 6), ("known_l1", 7)] {
        let value = summary["validation"]["measures"][measure].as_f64().unwrap();
        assert!((value - last[column]).abs() < 1e-7, "{value} and {}", last[column]);
    }
    // Every image has as many known pixels as missing ones.
    assert!((last[2] - (last[6] + last[7]) / 2.0).abs() < 1e-6, "{last:?}");
    for said in ["\nvalidation, PSNR    ", " dB (damaged: ", "\nvalidation, SSIM    ", "\nvalidation, missing L1"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let table = place.read_text("run/table.csv");
    assert!(
        table.lines().next().unwrap().contains(",running_loss,known_l1,missing_l1,batch_loss,psnr,ssim,parameters,"),
        "{table}"
    );
    let mean = metrics.iter().map(|row| row[3]).sum::<f64>() / 7.0;
    assert!((summary["training_loss"].as_f64().unwrap() - mean).abs() < 1e-6);
    for said in ["parameters: 399", "receptive field", "threads: 1", "MiB", "50/50 images", "written to", "run"] {
        assert!(out.contains(said), "{said}: {out}");
    }

    let picture = image::open(place.path("run/reconstruction.png")).unwrap().to_luma8();
    assert!(picture.width() > 8 * 8 && picture.height() > 8 * 2 * 3, "{:?}", picture.dimensions());
    assert!(image::open(place.path("run/loss.png")).unwrap().width() > 100);
    assert!(place.read_text("run/loss.svg").contains("</svg>"));

    // eval says the same of the checkpoint.
    let validated = place.succeed(&["eval", "run/checkpoint.safetensors", "--data=data", "--unverified-data"]);
    for statistics in ["running", "batch"] {
        let losses = &summary["validation"][statistics];
        let row: String = ["all", "left", "right", "top", "bottom"]
            .map(|half| format!("{:>9.5}", losses[half].as_f64().unwrap()))
            .concat();
        assert!(validated.contains(&row), "{row}: {validated}");
    }
}

#[test]
fn the_settings_file_repeats_the_run_on_any_number_of_threads() {
    let place = Place::new();
    let settings = ["--samples=40", "--lr=1e-3", "--schedule=constant", "--warmup=16", "--seed=5", "--out=a"];
    place.succeed(&train(&settings));
    place.succeed(&["train", "--config=a/settings.toml", "--out=b", "--threads=2"]);
    for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png", "loss.svg"] {
        assert_eq!(place.read(&format!("a/{file}")), place.read(&format!("b/{file}")), "{file}");
    }
    let changed = |line: &&str| !line.starts_with("out") && !line.starts_with("threads");
    let [a, b] = ["a", "b"].map(|run| place.read_text(&format!("{run}/settings.toml")));
    assert_eq!(a.lines().filter(changed).collect::<Vec<_>>(), b.lines().filter(changed).collect::<Vec<_>>());
    let metrics = rows(&place.read_text("a/metrics.csv"));
    let lr: Vec<f64> = metrics.iter().map(|row| (row[2] * 3000.0).round()).collect();
    assert_eq!(lr, [1.0, 2.0, 3.0, 3.0, 3.0], "16 images are two steps of warm-up");

    // Another seed is another run.
    place.succeed(&["train", "--config=a/settings.toml", "--out=c", "--seed=6"]);
    assert_ne!(place.read("a/metrics.csv"), place.read("c/metrics.csv"));
}

/// As the README says.
#[test]
fn a_run_is_repeated_beside_itself_wherever_the_command_is_given() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--threads=1", "--out=runs/a"]));
    let out = place.succeed(&["train", "--config=runs/a/settings.toml"]);
    assert!(out.contains("the run is repeated in runs/a-2"), "{out}");
    // In the run's own folder, and in another one, where `data` would be no folder.
    let again = |folder: &str, config: &str| {
        let mut command = place.command(&["train", "--config", config]);
        let output = command.current_dir(place.path(folder)).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    again("runs/a", "settings.toml");
    again("runs/a-2", "../a/settings.toml");
    for run in ["runs/a-2", "runs/a-3", "runs/a-4"] {
        assert!(place.read("runs/a/model.safetensors") == place.read(&format!("{run}/model.safetensors")), "{run}");
    }
    // A folder that was moved is repeated beside its new place.
    std::fs::create_dir(place.path("other")).unwrap();
    std::fs::rename(place.path("runs/a"), place.path("other/b")).unwrap();
    place.succeed(&["train", "--config=other/b/settings.toml"]);
    assert!(place.path("other/b-2/summary.json").exists());
    // The user's word counts.
    place.succeed(&["train", "--config=other/b/settings.toml", "--force", "--out=other/b"]);
    let message = place.fail(&["train", "--config=other/b/settings.toml", "--out=other/b"]);
    assert!(message.contains("is not empty"), "{message}");
}

#[test]
fn training_learns_on_either_device() {
    let place = Place::new();
    let arguments = ["--samples=480", "--lr=5e-3", "--seed=1"];
    let mut last = Vec::new();
    for device in ["cpu", "reference"] {
        let [out, device] = [format!("--out={device}"), format!("--device={device}")];
        place.succeed(&train(&[&arguments[..], &[&out, &device]].concat()));
        let losses: Vec<f64> =
            rows(&place.read_text(&format!("{}/metrics.csv", &out[6..]))).iter().map(|row| row[3]).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(mean(&losses[50..]) < 0.6 * mean(&losses[..5]), "{device}: {losses:?}");
        last.push(losses);
    }
    // The same images, weights and halves: at first both devices compute the same up to rounding.
    assert!(last[0][..5].iter().zip(&last[1]).all(|(a, b)| (a - b).abs() < 1e-5), "{last:?}");
}

#[test]
fn a_quick_run_has_its_own_folder_and_fewer_images() {
    let place = Place::new();
    place.succeed(&train(&["--quick", "--samples=16"]));
    assert_outputs(&place, "runs/quick");
    let settings = place.read_text("runs/quick/settings.toml");
    assert!(settings.contains("samples = 16\n") && settings.contains("layers = 2\n"), "flags win: {settings}");
}

#[test]
fn a_run_begins_with_given_weights() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=a"]));
    // Without training, validation is that of the weights: a learning rate of almost 0 leaves them as they are.
    let again = ["--samples=8", "--lr=1e-30", "--weight-decay=0", "--out=b", "--init=a/model.safetensors"];
    place.succeed(&train(&again));
    let last = |run: &str| rows(&place.read_text(&format!("{run}/validation.csv"))).last().unwrap()[3];
    assert!((last("a") - last("b")).abs() < 1e-6, "{} and {}", last("a"), last("b"));
    let fresh = ["--samples=8", "--lr=1e-30", "--weight-decay=0", "--out=c"];
    place.succeed(&train(&fresh));
    assert!((last("a") - last("c")).abs() > 1e-5);
}

#[test]
fn gradients_are_clipped() {
    let place = Place::new();
    let weight = |norm: &str, out: &str| {
        let common = ["--samples=24", "--lr=1e-2", "--weight-decay=0", "--schedule=constant"];
        place.succeed(&train(&[&common[..], &[&format!("--out={out}"), norm]].concat()));
        let tensors = Checkpoint::read(&place.path(&format!("{out}/model.safetensors"))).unwrap().tensors;
        match &tensors["encoder.layer_1.conv.bias"].values {
            Values::F32(values) => values.clone(),
            other => panic!("{other:?}"),
        }
    };
    // AdamW divides by the gradients' size, so only clipping below its eps of 1e-8 holds the weights.
    let free = weight("--clip-grad-norm=1e9", "free");
    assert_eq!(weight("--seed=0", "none"), free);
    assert!(place.read_text("free/settings.toml").contains("clip_grad_norm = 1000000000.0"));
    assert!(!place.read_text("none/settings.toml").contains("clip_grad_norm"));
    let held = [weight("--clip-grad-norm=1e-14", "held"), weight("--clip-grad-norm=1e-15", "tight")];
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest(&held[0], &held[1]) < 1e-6 && largest(&free, &held[0]) > 1e-2, "{free:?} {held:?}");
}

#[test]
fn the_plan_is_printed_and_nothing_is_written() {
    let place = Place::new();
    let out = place.succeed(&train(&["--print-plan", "--out=run"]));
    assert!(out.starts_with("ResConv(\n  (encoder): ModuleDict(\n    (layer_1): ConvLayer("), "{out}");
    for said in ["encoder.layer_1", "decoder.layer_2", "[8, 8, 8, 1]", "workspace", "total"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert_eq!(place.files("run"), [""; 0]);
}

/// The library of the thread pool has a variable of its own.
#[test]
fn a_variable_of_the_thread_pool_does_not_decide_the_number_of_threads() {
    let place = Place::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut command = place.command(&train(&["--samples=8", "--out=run", "--threads=0"]));
    let output = command.env("RAYON_NUM_THREADS", (cores + 5).to_string()).output().unwrap();
    let (said, out) = (format!("threads: {cores} (one a core),"), text(&output.stdout));
    assert!(output.status.success() && out.contains(&said), "{said} is not in\n{out}");
}

/// The loss of a class or a missing half without images is no figure, and least of all the best one.
#[test]
fn a_mean_over_nothing_is_no_figure() {
    let place = Place::new();
    place.write_idx("t10k-images-idx3-ubyte", &[1, 28, 28], &[100; 784]);
    place.write_idx("t10k-labels-idx1-ubyte", &[1], &[23]);
    place.succeed(&train(&["--samples=16", "--out=run"]));
    let json = |file: &str| -> serde_json::Value { serde_json::from_slice(&place.read(file)).unwrap() };
    let losses = json("run/summary.json")["validation"]["running"].clone();
    let all = losses["all"].as_f64().unwrap();
    // The first validation image lacks its left half.
    assert_eq!(losses["left"].as_f64(), Some(all));
    assert!(["right", "top", "bottom"].iter().all(|half| losses[half].is_null()), "{losses}");
    let errors = json("run/errors.json");
    let names = |list: &str, name: &str| -> Vec<String> {
        errors[list].as_array().unwrap().iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("halves", "missing"), ["left"]);
    // The classes of an unknown dataset have numbers, also beyond Fashion-MNIST's ten.
    assert_eq!(names("classes", "class"), ["23"]);
    let page = place.read_text("run/report.html");
    let headings = page.split("<table class=\"heat\">").nth(1).unwrap().split("</thead>").next().unwrap();
    let headings: Vec<&str> = headings.split("<span>").skip(1).map(|h| h.split('<').next().unwrap()).collect();
    assert_eq!(headings, ["network", "left missing", "23"]);
    assert!(!page.contains("0.0000<"), "{page}");
    let out = place.succeed(&["eval", "run/checkpoint.safetensors", "--data=data", "--unverified-data"]);
    let running = out.lines().find(|line| line.starts_with("running statistics")).unwrap();
    let cells: Vec<&str> = running.split_whitespace().skip(2).collect();
    assert_eq!(cells, [format!("{all:.5}").as_str(), &format!("{all:.5}"), "-", "-", "-"]);

    // The weights overflow, so that no step has a loss: its mean is none.
    let mut weights = Checkpoint::read(&place.path("run/model.safetensors")).unwrap();
    let tensor = weights.tensors.get_mut("encoder.layer_1.conv.weight").unwrap();
    tensor.values = Values::F32(vec![3e38; tensor.values.len()]);
    Checkpoint { path: place.path("huge.safetensors"), ..weights }.write().unwrap();
    let out = place.succeed(&train(&["--samples=16", "--out=nan", "--on-nan=skip", "--init=huge.safetensors"]));
    assert!(out.contains("\ntraining loss               -\n") && out.contains("loss -  lr"), "{out}");
    assert!(json("nan/summary.json")["training_loss"].is_null());
}

/// Every kind of damage is one word on the command line, for grey images and for colours.
#[test]
fn other_damage_is_learned_in_the_same_way() {
    let place = Place::new();
    let task = "blur:0.5..1,noise:0..0.1,quantize:16,jpeg:30..90,downscale:2";
    let out = place.succeed(&train(&["--samples=24", "--out=run", "--task", task]));
    assert!(!out.contains("missing L1") && out.contains("\nvalidation, PSNR    "), "{out}");
    assert!(place.read_text("run/settings.toml").contains(&format!("task = \"{task}\"")));
    let validation = place.read_text("run/validation.csv");
    assert!(validation.ends_with(",\n") && validation.lines().count() == 2, "{validation}");
    let eval = place.succeed(&["eval", "run", "--data=data", "--unverified-data"]);
    let headings = eval.lines().find(|line| line.starts_with("validation L1")).unwrap();
    assert_eq!(headings.split_whitespace().collect::<Vec<_>>(), ["validation", "L1", "all"]);
    assert!(eval.contains("\nPSNR ") && eval.contains("\nSSIM "), "{eval}");
    let page = place.read_text("run/report.html");
    for told in ["<span>all images</span>", "<p class=\"note\">Mean absolute error of each pixel, with", ">By class<"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(page.contains(">PSNR (dB)<") && !page.contains(">missing pixels<") && !page.contains("half"), "{page}");

    for task in ["box:1..2:1/4,pixels:0.2", "half-crop"] {
        let out = place.succeed(&train(&["--samples=16", "--out=mask", "--task", task, "--force"]));
        assert!(out.contains("\nvalidation, missing L1  "), "{out}");
    }
}

#[test]
fn a_task_that_is_not_one_is_refused_with_the_right_form() {
    let place = Place::new();
    let refused = |task: &str| {
        let output = place.run(&train(&["--samples=8", "--out=run", "--task", task]));
        assert_eq!(output.status.code(), Some(2), "{task}");
        text(&output.stderr)
    };
    let message = refused("noise");
    assert!(message.contains("expected noise:SIGMA (") && message.contains("got `noise`"), "{message}");
    assert!(refused("rain").contains("expected one of half-crop, box[:COUNT[:SIDE]], "));
    let message = place.fail(&train(&["--samples=8", "--out=run", "--task=noise:0.1,colorize"]));
    assert_eq!(message, "the task noise:0.1,colorize is for images in colour: `colorize` does nothing to grey ones");
    assert!(!place.path("run").exists());
    let help = place.succeed(&["train", "--help"]);
    let list = &help[help.find("for --task").unwrap()..];
    for form in ["half-crop", "box[:COUNT[:SIDE]]", "downscale:FACTOR[:box]", "jpeg:QUALITY", "colorize"] {
        assert!(list.contains(&format!("\n  {form} ")), "{form}: {list}");
    }
}
