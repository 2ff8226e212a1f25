//! Optimisers compared with torch's (`learn/oracles/optimisers.py`), and interrupted compared with uninterrupted
//! training.

use serde::Deserialize;
use tch::Kind;

use super::*;

#[derive(Deserialize)]
struct Golden {
    results: BTreeMap<String, Parameters>,
    clipped: Clipped,
}

#[derive(Deserialize)]
struct Parameters {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

#[derive(Deserialize)]
struct Clipped {
    norm: f64,
    gradient: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/optimisers.json")).unwrap()
}

#[test]
fn a_rate_of_0_changes_nothing() {
    for (name, rule) in RULES {
        let mut optimiser = start(rule, Kind::Float);
        for rate in [0.0, 1e-320, 1e-45, 1e-31] {
            let before: Vec<Tensor> = optimiser
                .parameters
                .iter()
                .map(|parameter| parameter.tensor.detach().copy())
                .collect();
            optimiser.zero_gradients();
            let all: Tensor = optimiser
                .parameters
                .iter()
                .map(|parameter| parameter.tensor.square().sum(Kind::Float))
                .sum();
            all.backward();
            optimiser.step(rate);
            for (parameter, before) in optimiser.parameters.iter().zip(before) {
                assert!(parameter.tensor.equal(&before), "{name} at {rate}");
            }
        }
    }
}

const RULES: [(&str, Rule); 4] = [
    (
        "sgd",
        Rule::Sgd {
            momentum: 0.0,
            nesterov: false,
        },
    ),
    (
        "sgd_momentum",
        Rule::Sgd {
            momentum: 0.9,
            nesterov: false,
        },
    ),
    (
        "sgd_nesterov",
        Rule::Sgd {
            momentum: 0.9,
            nesterov: true,
        },
    ),
    ("adam_w", Rule::ADAM_W),
];

fn start(rule: Rule, kind: Kind) -> Optimiser {
    let weight: Vec<f64> = (0..12).map(|index| f64::from(index) / 10.0 - 0.5).collect();
    let bias: Vec<f64> = (0..4).map(|index| f64::from(index) / 4.0).collect();
    let parameter = |name: &str, values: &[f64], shape: &[i64], is_decayed| Parameter {
        name: name.to_owned(),
        tensor: Tensor::from_slice(values)
            .reshape(shape)
            .to_kind(kind)
            .set_requires_grad(true),
        is_decayed,
    };
    let parameters = vec![
        parameter("weight", &weight, &[3, 4], true),
        parameter("bias", &bias, &[4], false),
    ];
    Optimiser::new(parameters, rule, 0.05)
}

/// Performs a step with the gradient 0.3 p + sin(step + index).
fn step(optimiser: &mut Optimiser, number: i64) {
    optimiser.zero_gradients();
    for parameter in &optimiser.parameters {
        let p = &parameter.tensor;
        let index = Tensor::arange(p.numel() as i64, (p.kind(), p.device())).reshape(p.size());
        let slope = (index + number as f64).sin();
        (p.square() * 0.15 + p * slope).sum(None::<Kind>).backward();
    }
    optimiser.step(0.01 * (number + 1) as f64);
}

fn close(found: &Tensor, expected: &[f64], tolerance: f64, what: &str) {
    let found = found.to_kind(Kind::Double).reshape([-1]);
    let difference = (found - Tensor::from_slice(expected))
        .abs()
        .max()
        .double_value(&[]);
    assert!(difference <= tolerance, "{what}: {difference}");
}

#[test]
fn twenty_steps_are_torchs() {
    let golden = golden();
    for (name, rule) in RULES {
        for (kind, tolerance) in [(Kind::Double, 1e-13), (Kind::Float, 2e-6)] {
            let mut optimiser = start(rule, kind);
            for number in 0..20 {
                step(&mut optimiser, number);
            }
            let expected = &golden.results[name];
            close(
                &optimiser.parameters[0].tensor,
                &expected.weight,
                tolerance,
                name,
            );
            close(
                &optimiser.parameters[1].tensor,
                &expected.bias,
                tolerance,
                name,
            );
            assert_eq!(optimiser.steps(), 20);
        }
    }
}

#[test]
fn a_restored_optimiser_goes_on_bit_by_bit() {
    for (name, rule) in RULES {
        let mut whole = start(rule, Kind::Float);
        let mut first = start(rule, Kind::Float);
        for number in 0..7 {
            step(&mut whole, number);
            step(&mut first, number);
        }
        let saved = first.state();
        let mut second = start(rule, Kind::Float);
        second.restore(&saved).unwrap();
        no_grad(|| {
            for (to, from) in second.parameters.iter_mut().zip(&first.parameters) {
                to.tensor.copy_(&from.tensor);
            }
        });
        for number in 7..15 {
            step(&mut whole, number);
            step(&mut second, number);
        }
        for (one, other) in whole.parameters.iter().zip(&second.parameters) {
            assert!(one.tensor.equal(&other.tensor), "{name}: {}", one.name);
        }
    }
}

#[test]
fn another_optimisers_state_is_refused() {
    let mut adam = start(Rule::ADAM_W, Kind::Float);
    let sgd = start(RULES[1].1, Kind::Float).state();
    let error = adam.restore(&sgd).unwrap_err().to_string();
    assert!(
        error.contains("`optimiser.mean.bias` is missing"),
        "{error}"
    );
    let mut more = adam.state();
    more.insert("optimiser.mean.other".to_owned(), Tensor::from(0.0));
    let error = adam.restore(&more).unwrap_err().to_string();
    assert!(
        error.contains("`optimiser.mean.other` belongs to another optimiser"),
        "{error}"
    );
    let mut other = adam.state();
    other.insert(
        "optimiser.mean.bias".to_owned(),
        Tensor::from_slice(&[0f32; 3]),
    );
    let error = adam.restore(&other).unwrap_err().to_string();
    assert!(error.contains("[3] instead of [4]"), "{error}");
}

fn with_gradient(values: &[f64]) -> Optimiser {
    let tensor = Tensor::zeros([values.len() as i64], (Kind::Double, tch::Device::Cpu))
        .set_requires_grad(true);
    (&tensor * Tensor::from_slice(values))
        .sum(None::<Kind>)
        .backward();
    let parameter = Parameter {
        name: "p".to_owned(),
        tensor,
        is_decayed: true,
    };
    Optimiser::new(vec![parameter], RULES[0].1, 0.0)
}

#[test]
fn gradients_are_clipped_as_torch_does_and_never_when_they_are_no_numbers() {
    let golden = golden().clipped;
    let optimiser = with_gradient(&[0.0, 1.0, 2.0, 3.0, 4.0]);
    let norm = optimiser.clip_gradients(2.0).unwrap();
    assert!((norm - golden.norm).abs() < 1e-12);
    close(
        &optimiser.parameters[0].tensor.grad(),
        &golden.gradient,
        1e-12,
        "clipped",
    );
    // Short enough to stay unchanged.
    let kept = optimiser.parameters[0].tensor.grad().copy();
    optimiser.clip_gradients(100.0).unwrap();
    assert!(optimiser.parameters[0].tensor.grad().equal(&kept));

    // Also without a limit, as in a training without clipping.
    optimiser.clip_gradients(f64::INFINITY).unwrap();
    assert!(optimiser.parameters[0].tensor.grad().equal(&kept));

    for most in [1.0, f64::INFINITY] {
        for broken in [f64::NAN, f64::INFINITY] {
            let broken = with_gradient(&[1.0, broken]);
            let error = broken.clip_gradients(most).unwrap_err();
            assert!(!error.0.is_finite() && error.to_string().contains("diverged"));
        }
    }
}
