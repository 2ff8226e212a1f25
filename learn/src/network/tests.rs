//! Networks compared with Python's: same tensors, same outputs. `learn/oracles/networks.py` made the golden numbers.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};

use super::*;

const CLASSES: i64 = 7;
const SEVEN: Head = Head::Linear { classes: CLASSES };

#[derive(Deserialize)]
struct Golden {
    networks: BTreeMap<String, Answers>,
}

#[derive(Deserialize)]
struct Answers {
    tensors: usize,
    tensors_hash: String,
    parameters: i64,
    logits_224: Vec<f32>,
    logits_225: Vec<f32>,
    embedding_64_sum: f64,
    training_logits_64: Vec<f32>,
    statistics: BTreeMap<String, Vec<f32>>,
}

fn golden(architecture: Architecture) -> Answers {
    let text = include_str!("../../tests/golden/networks.json");
    let mut golden: Golden = serde_json::from_str(text).unwrap();
    golden.networks.remove(&architecture.to_string()).unwrap()
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Returns values in [-1, 1) from the name and the index, as the oracle makes them.
fn uniform(name: &str, shape: &[i64]) -> Tensor {
    let start = fnv(name);
    let values: Vec<f32> = (1..=shape.iter().product::<i64>() as u64)
        .map(|index| {
            let mut z = index
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(start);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            (z >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

fn filled(spec: &TensorSpec) -> Tensor {
    let u = uniform(&spec.name, &spec.shape);
    let ends = |part: &str| spec.name.ends_with(part);
    if ends("gamma") {
        u * 0.25 + 0.5
    } else if ends("running_var") {
        u * 0.25 + 1.0
    } else if ends("running_mean") || ends("bias") {
        u * 0.125
    } else if spec.shape.len() == 1 {
        u * 0.25 + 1.0
    } else {
        let fan_in: i64 = spec.shape[1..].iter().product();
        u * (3.0 / fan_in as f64).sqrt()
    }
}

/// Returns a network whose weights are a hash of their names.
pub(crate) fn hashed(architecture: Architecture, head: Head) -> Network {
    let network = Network::new(architecture, head, 0, Device::Cpu);
    no_grad(|| {
        for named in network.tensors() {
            if named.spec.role != TensorRole::BatchCount {
                named.tensor.shallow_clone().copy_(&filled(&named.spec));
            }
        }
    });
    network
}

/// Returns images made from a hash, with as many channels as the network takes.
pub(crate) fn images(architecture: Architecture, count: i64, size: i64) -> Tensor {
    let channels = architecture.channels();
    uniform(&format!("input {size}"), &[count, channels, size, size])
}

/// Returns the small network with this width, stem stride and number of channels.
pub(crate) fn small(width: i64, stem_stride: i64, channels: i64) -> Architecture {
    Architecture::SmallResNet18(SmallResNet18::new(width, stem_stride, channels).unwrap())
}

#[track_caller]
fn assert_close(tensor: &Tensor, expected: &[f32], what: &str) {
    let expected = Tensor::from_slice(expected).reshape(tensor.size());
    let difference = (tensor - expected).abs().max().double_value(&[]);
    println!("{what}: {difference:.2e}");
    assert!(difference <= 1e-4, "{what}: {difference}");
}

fn agrees_with_python(architecture: Architecture) {
    tch::set_num_threads(1);
    let golden = golden(architecture);
    let network = hashed(architecture, SEVEN);
    let tensors = network.description().tensors();
    let mut listed: Vec<String> = tensors
        .iter()
        .map(|spec| format!("{} {:?}", spec.name, spec.shape))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed.len(), golden.tensors);
    let hash = fnv(&listed.join("\n"));
    assert_eq!(
        format!("{hash:016x}"),
        golden.tensors_hash,
        "names or shapes differ"
    );
    let cost = network.description().cost(224, 224);
    assert_eq!(cost.parameters, golden.parameters);

    no_grad(|| {
        for (size, expected) in [(224, &golden.logits_224), (225, &golden.logits_225)] {
            let logits = network
                .forward(&images(architecture, 2, size), Mode::Evaluation)
                .unwrap();
            assert_close(&logits, expected, &format!("{architecture} at {size}"));
        }
        let embedding = network
            .embed(&images(architecture, 2, 64), Mode::Evaluation)
            .unwrap();
        assert_eq!(embedding.size(), [2, architecture.features()]);
        let sum = embedding.sum(Kind::Double).double_value(&[]);
        assert!((sum - golden.embedding_64_sum).abs() < 1e-2, "{sum}");

        let logits = network
            .forward(&images(architecture, 4, 64), Mode::Training)
            .unwrap();
        assert_close(
            &logits,
            &golden.training_logits_64,
            &format!("{architecture} in training"),
        );
    });
    for (name, expected) in &golden.statistics {
        let mut tensors = network.tensors().iter();
        let named = tensors.find(|named| &named.spec.name == name).unwrap();
        assert_close(&named.tensor.slice(0, 0, 4, 1), expected, name);
    }
    let counts = network
        .tensors()
        .iter()
        .filter(|named| named.spec.role == TensorRole::BatchCount);
    for count in counts {
        assert_eq!(count.tensor.int64_value(&[]), 1, "{}", count.spec.name);
    }
}

#[test]
fn resnet18_agrees_with_timm() {
    agrees_with_python(Architecture::ResNet18);
}

#[test]
fn tf_efficientnet_b3_agrees_with_timm() {
    agrees_with_python(Architecture::EfficientNetB3);
}

#[test]
fn convnext_tiny_agrees_with_timm() {
    agrees_with_python(Architecture::ConvNextTiny);
}

#[test]
fn mobilenetv3_large_100_agrees_with_timm() {
    agrees_with_python(Architecture::MobileNetV3Large);
}

#[test]
fn the_small_network_agrees_with_torch_for_one_channel() {
    agrees_with_python(small(32, 2, 1));
}

#[test]
fn the_small_network_agrees_with_torch_for_three_channels_and_a_stem_stride_of_1() {
    agrees_with_python(small(16, 1, 3));
}

#[test]
fn each_small_network_has_one_name() {
    for (width, stem_stride, channels) in [(8, 1, 1), (32, 2, 1), (48, 2, 3), (256, 1, 3)] {
        let network = small(width, stem_stride, channels);
        let name = format!("small_resnet18_w{width}_s{stem_stride}_c{channels}");
        assert_eq!(network.to_string(), name);
        assert_eq!(name.parse(), Ok(network));
    }
    for wrong in [
        "small_resnet18_w32",
        "small_resnet18_w032_s2_c1",
        "small_resnet18_w+32_s2_c1",
        "small_resnet18_w7_s2_c1",
        "small_resnet18_w257_s2_c1",
        "small_resnet18_w32_s3_c1",
        "small_resnet18_w32_s2_c2",
        "small_resnet18_s2_w32_c1",
        "small_resnet18_w32_s2_c1_",
        "small_resnet18_w32_s2_c1_x1",
    ] {
        let error = wrong.parse::<Architecture>().unwrap_err().to_string();
        assert!(
            error.contains("small_resnet18_wWIDTH_sSTRIDE_cCHANNELS"),
            "{error}"
        );
    }
}

#[test]
fn the_small_network_computes_in_the_order_of_its_images_bytes() {
    // With NHWC and with NCHW strides; with one channel both are the same bytes.
    for architecture in [small(8, 2, 1), small(8, 2, 3)] {
        let network = hashed(architecture, SEVEN);
        let input = images(architecture, 2, 48);
        let other = input
            .permute([0, 2, 3, 1])
            .contiguous()
            .permute([0, 3, 1, 2]);
        let [one, other] = [&input, &other]
            .map(|input| no_grad(|| network.forward(input, Mode::Evaluation).unwrap()));
        assert!(one.equal(&other));
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    tch::set_num_threads(1);
    for architecture in Architecture::LISTED {
        let network = hashed(architecture, SEVEN);
        let logits = network
            .forward(&images(architecture, 2, 64), Mode::Training)
            .unwrap();
        logits
            .logsumexp([1i64].as_slice(), false)
            .sum(Kind::Float)
            .backward();
        for parameter in network.parameters() {
            let gradient = parameter.tensor.grad();
            assert!(
                gradient.defined(),
                "{architecture}: {}",
                parameter.spec.name
            );
            let largest = gradient.abs().max().double_value(&[]);
            assert!(
                largest.is_finite() && largest > 0.0,
                "{architecture}: {} {largest}",
                parameter.spec.name
            );
        }
    }
}

#[test]
fn an_arcface_head_gives_scaled_cosines() {
    let head = Head::ArcFace {
        classes: 3,
        scale: 30.0,
    };
    let network = hashed(Architecture::ResNet18, head);
    let weight = network.head_weight().copy();
    // The classes' own directions, scaled: the cosine with themselves is 1.
    let logits = no_grad(|| network.classify(&(&weight * 5.0)));
    for class in 0..3 {
        assert!((logits.double_value(&[class, class]) - 30.0).abs() < 1e-4);
    }
    assert!(logits.abs().max().double_value(&[]) < 30.001);
    let names: Vec<String> = network
        .description()
        .tensors()
        .into_iter()
        .map(|spec| spec.name)
        .collect();
    assert!(names.contains(&"fc.weight".to_owned()) && !names.contains(&"fc.bias".to_owned()));
}

#[test]
fn the_first_weights_depend_on_seed_and_name_alone() {
    let [one, same, other] = [1, 1, 2]
        .map(|seed| Network::new(Architecture::MobileNetV3Large, SEVEN, seed, Device::Cpu));
    let mut moved = 0;
    for ((one, same), other) in one
        .tensors()
        .iter()
        .zip(same.tensors())
        .zip(other.tensors())
    {
        assert!(one.tensor.equal(&same.tensor), "{}", one.spec.name);
        if one.spec.role == TensorRole::Weight {
            assert!(!one.tensor.equal(&other.tensor), "{}", one.spec.name);
            moved += 1;
        }
    }
    assert!(moved > 50);
    // The variance of the activations neither vanishes nor explodes.
    let logits = no_grad(|| {
        one.forward(
            &images(Architecture::MobileNetV3Large, 2, 64),
            Mode::Training,
        )
        .unwrap()
    });
    let largest = logits.abs().max().double_value(&[]);
    assert!((1e-3..1e3).contains(&largest), "{largest}");
}

#[test]
fn an_input_of_another_shape_or_type_is_an_error() {
    let network = hashed(Architecture::ResNet18, SEVEN);
    let float = (Kind::Float, Device::Cpu);
    for shape in [
        vec![3, 64, 64],
        vec![1, 1, 64, 64],
        vec![0, 3, 64, 64],
        vec![1, 3, 31, 64],
    ] {
        let error = network
            .forward(&Tensor::zeros(&shape, float), Mode::Evaluation)
            .unwrap_err();
        assert_eq!(
            error,
            InputError::Shape {
                found: shape.clone(),
                channels: 3
            }
        );
        assert!(error.to_string().contains("[N, 3, H, W]"));
    }
    let gray = hashed(small(8, 2, 1), SEVEN);
    let error = gray
        .forward(&Tensor::zeros([1, 3, 48, 48], float), Mode::Evaluation)
        .unwrap_err();
    assert!(error.to_string().contains("[N, 1, H, W]"), "{error}");
    let doubles = Tensor::zeros([1, 3, 64, 64], (Kind::Double, Device::Cpu));
    let error = network.forward(&doubles, Mode::Evaluation).unwrap_err();
    assert!(error.to_string().contains("Double") && error.to_string().contains("32-bit"));
}

#[test]
fn costs_are_those_of_the_papers() {
    // Billions of multiply-accumulates at the papers' sizes, with 1,000 classes: 1.8, 1.8, 4.5, 0.219.
    let published = [
        (Architecture::ResNet18, 224, 1.8, 11.69),
        (Architecture::EfficientNetB3, 300, 1.8, 12.23),
        (Architecture::ConvNextTiny, 224, 4.5, 28.59),
        (Architecture::MobileNetV3Large, 224, 0.219, 5.48),
    ];
    for (architecture, size, giga, millions) in published {
        let description = Description::new(architecture, Head::Linear { classes: 1000 });
        let cost = description.cost(size, size);
        let measured = cost.multiply_accumulates as f64 / 1e9;
        assert!(
            (measured / giga - 1.0).abs() < 0.05,
            "{architecture}: {measured}"
        );
        let parameters = cost.parameters as f64 / 1e6;
        assert!(
            (parameters - millions).abs() < 0.01,
            "{architecture}: {parameters}"
        );
    }
}

#[test]
fn costs_of_the_largest_inputs_can_be_counted() {
    let widest = small(256, 1, 3);
    for architecture in Architecture::LISTED.into_iter().chain([widest]) {
        let head = Head::Linear { classes: 1_000_000 };
        let cost = |size| Description::new(architecture, head).cost(size, size);
        // 256 times the pixels, and the head, which does not grow.
        let [small, large] = [4_096, 65_536].map(|size| cost(size).multiply_accumulates as f64);
        assert!((large / small / 256.0 - 1.0).abs() < 0.1, "{architecture}");
    }
}

#[test]
fn a_name_that_is_no_network_lists_those_that_are() {
    let error = "resnet50".parse::<Architecture>().unwrap_err().to_string();
    assert!(
        error.contains("resnet50") && error.contains("tf_efficientnet_b3"),
        "{error}"
    );
}
