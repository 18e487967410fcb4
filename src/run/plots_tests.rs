use super::*;
use serde_json::json;

fn entries(values: &[Value]) -> Vec<Map<String, Value>> {
    values.iter().map(|v| v.as_object().unwrap().clone()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Width, height and pixels.
fn decoded(path: &Path) -> (u32, u32, Vec<[u8; 3]>) {
    let bytes = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(bytes).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect())
}

/// A place (0 to 1) of the first and the last pixel of a colour, from left to right or from top to bottom.
fn extent(pixels: &[[u8; 3]], colour: RGBColor, of: fn(usize) -> usize) -> (usize, usize) {
    let wanted = [colour.0, colour.1, colour.2];
    let places: Vec<usize> =
        pixels.iter().enumerate().filter(|(_, p)| **p == wanted).map(|(i, _)| of(i)).collect();
    (*places.iter().min().unwrap(), *places.iter().max().unwrap())
}

#[test]
fn smoothing_is_tensorboards() {
    // SWIFT's tensorboard_smoothing([4, 2, 3, 1], 0.9), run in Python.
    let points: Vec<Point> = [4.0, 2.0, 3.0, 1.0].iter().enumerate().map(|(i, y)| (i as f64, *y)).collect();
    let wanted = [4.0, 2.9473684210526314, 2.966789667896679, 2.394882233207328];
    for ((_, y), wanted) in smooth(&points, 0.9).into_iter().zip(wanted) {
        assert!((y - wanted).abs() < 1e-12, "{y} {wanted}");
    }
    let gap = [(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)];
    assert_eq!(smooth(&gap, 0.9).iter().map(|p| p.0).collect::<Vec<_>>(), [1.0, 3.0]);
}

#[test]
fn every_tag_has_its_plot() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    let mut history: Vec<Value> = (1..=60)
        .map(|step| {
            let loss = 4.0 * (-f64::from(step) / 20.0).exp() + 0.3 * (f64::from(step) * 2.0).sin();
            json!({"step": step, "loss": loss, "acc": 1.0 - loss / 5.0, "learning_rate": 1e-4 * (1.0 - f64::from(step) / 60.0)})
        })
        .collect();
    history.push(json!({"step": 60, "eval_loss": 0.25, "eval_nan": null}));
    draw(&images, &entries(&history)).unwrap();
    assert_eq!(
        names(&images),
        ["eval_loss.png", "train_acc.png", "train_learning_rate.png", "train_loss.png"]
    );

    let (width, height, pixels) = decoded(&images.join("train_loss.png"));
    assert_eq!((width, height), SIZE);
    // Both curves go from the left to the right; the smoothed one does not reach the raw one's lowest values.
    for colour in [PALE, STRONG] {
        let (left, right) = extent(&pixels, colour, |i| i % SIZE.0 as usize);
        assert!(left < 150 && right > 700, "{left} {right}");
    }
    let rows = |colour| extent(&pixels, colour, |i| i / SIZE.0 as usize);
    let (raw, smoothed) = (rows(PALE), rows(STRONG));
    assert!(smoothed.1 < raw.1 - 20, "{raw:?} {smoothed:?}");
    // The learning rate falls.
    let (_, _, pixels) = decoded(&images.join("train_learning_rate.png"));
    let (top, bottom) = extent(&pixels, STRONG, |i| i / SIZE.0 as usize);
    let at = |row: usize| {
        let line = &pixels[row * SIZE.0 as usize..(row + 1) * SIZE.0 as usize];
        line.iter().position(|p| *p == [STRONG.0, STRONG.1, STRONG.2]).unwrap()
    };
    assert!(at(top) < at(bottom), "{} {}", at(top), at(bottom));
    // One value is a dot; text and axes are dark.
    let (_, _, pixels) = decoded(&images.join("eval_loss.png"));
    let dot = pixels.iter().filter(|p| **p == [STRONG.0, STRONG.1, STRONG.2]).count();
    assert!((10..60).contains(&dot), "{dot}");
    assert!(pixels.iter().filter(|p| p.iter().all(|c| *c < 100)).count() > 200);
}

#[test]
fn nothing_that_a_log_holds_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let values = [
        json!(f64::MAX),
        json!(f64::MIN),
        json!(0),
        json!(5e-324),
        Value::Null,
        json!(1e16 + 2.0),
        json!(u64::MAX),
        json!("text"),
        json!(-1e-9),
        json!(3),
    ];
    let steps = [json!(0), json!(1), json!(1), json!(u64::MAX), json!("x"), Value::Null];
    for (i, a) in values.iter().enumerate() {
        for (j, b) in values[i..].iter().enumerate() {
            let step = |k: usize| &steps[k % steps.len()];
            let history = [json!({"step": step(j), "loss": a}), json!({"step": step(j + 1), "loss": b})];
            draw(dir.path(), &entries(&history)).unwrap();
        }
    }
    draw(dir.path(), &[]).unwrap();
    let e = draw(Path::new("/proc/images"), &[]).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("/proc/images"), "{e}");
}

#[test]
fn labels_tell_neighbours_apart() {
    let labels = |span: f64, values: &[f64]| values.iter().map(|y| label(*y, span)).collect::<Vec<_>>();
    assert_eq!(labels(1.0, &[0.2, 0.4]), ["0.2", "0.4"]);
    assert_eq!(labels(1e-4, &[2e-5, 4e-5, 1e-19]), ["2.0e-5", "4.0e-5", "0"]);
    assert_eq!(labels(0.29, &[0.1, 0.15]), ["0.10", "0.15"]);
    assert_eq!(labels(3e-3, &[5e-4, 1e-3]), ["0.0005", "0.0010"]);
    assert_eq!(labels(900.0, &[200.0, 400.0]), ["200", "400"]);
    assert_eq!(step_label(20.0), "20");
    assert_eq!(step_label(2.5), "");
}
