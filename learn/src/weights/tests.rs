//! What is loaded, what is rejected, and with which message.

use serde_json::json;

use super::*;
use crate::network::tests::small;
use crate::network::{Head, Mode};

const SEVEN: Head = Head::Linear { classes: 7 };

fn network(architecture: Architecture, head: Head, seed: u64) -> Network {
    Network::new(architecture, head, seed, Device::Cpu)
}

fn message(path: &Path, architecture: Architecture, head: Head, of: HeadOf) -> String {
    let mut network = network(architecture, head, 5);
    let before: Vec<Tensor> = network
        .tensors()
        .iter()
        .map(|named| named.tensor.copy())
        .collect();
    let error = network.load(path, of).unwrap_err().to_string();
    for (named, before) in network.tensors().iter().zip(before) {
        assert!(
            named.tensor.equal(&before),
            "{} was touched: {error}",
            named.spec.name
        );
    }
    error
}

#[test]
fn what_is_saved_is_loaded_again_with_its_provenance() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in Architecture::LISTED {
        let path = folder.path().join("model.safetensors");
        let saved = network(architecture, SEVEN, 1);
        let input = Tensor::ones(
            [2, architecture.channels(), 64, 64],
            (Kind::Float, Device::Cpu),
        );
        let _ = no_grad(|| saved.forward(&input, Mode::Training).unwrap());
        let provenance = json!({"run": "x", "epoch": 3});
        saved.save(&path, Some(provenance.clone())).unwrap();
        let mut loaded = network(architecture, SEVEN, 2);
        assert_eq!(
            loaded.load(&path, HeadOf::File).unwrap(),
            Some(provenance.clone())
        );
        for (one, other) in saved.tensors().iter().zip(loaded.tensors()) {
            assert!(one.tensor.equal(&other.tensor), "{}", one.spec.name);
        }
        let bytes = std::fs::read(&path).unwrap();
        loaded.save(&path, Some(provenance)).unwrap();
        assert!(
            bytes == std::fs::read(&path).unwrap(),
            "the same tensors give the same bytes"
        );
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside"
    );
}

#[test]
fn weights_of_a_training_that_has_diverged_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let diverged = network(small(8, 2, 1), SEVEN, 1);
    for value in [f64::NAN, f64::INFINITY] {
        let _ = no_grad(|| diverged.head_weight().get(3).fill_(value));
        diverged.save(&path, None).unwrap();
        let error = message(&path, small(8, 2, 1), SEVEN, HeadOf::File);
        assert!(
            error.contains("tensor `fc.weight` has values that are not finite"),
            "{error}"
        );
    }
}

#[test]
fn a_head_is_replaced_only_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imagenet.safetensors");
    let saved = network(Architecture::ResNet18, Head::Linear { classes: 1000 }, 1);
    saved.save(&path, None).unwrap();
    let error = message(&path, Architecture::ResNet18, SEVEN, HeadOf::File);
    assert!(
        error.contains("fc.weight [1000, 512] instead of [7, 512]"),
        "{error}"
    );
    assert!(error.contains("only the head differs"), "{error}");

    let mut other = network(Architecture::ResNet18, SEVEN, 2);
    let head = other.head_weight().copy();
    other.load(&path, HeadOf::Network).unwrap();
    assert!(other.head_weight().equal(&head));
    assert!(other.tensors()[0].tensor.equal(&saved.tensors()[0].tensor));
}

#[test]
fn a_checkpoint_of_another_network_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    network(Architecture::ConvNextTiny, SEVEN, 1)
        .save(&path, None)
        .unwrap();
    for of in [HeadOf::File, HeadOf::Network] {
        let error = message(&path, Architecture::MobileNetV3Large, SEVEN, of);
        assert!(
            error.contains("does not fit mobilenetv3_large_100"),
            "{error}"
        );
        assert!(
            error.contains("it is a checkpoint of convnext_tiny"),
            "{error}"
        );
    }
}

#[test]
fn a_partly_matching_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    network(Architecture::ResNet18, SEVEN, 1)
        .save(&path, None)
        .unwrap();
    let mut file = TensorFile::read(&path).unwrap();
    let moved = file.tensors.remove("layer1.0.bn1.weight").unwrap();
    file.tensors
        .insert("layer1.0.norm.weight".to_owned(), moved);
    file.write(&path).unwrap();
    let error = message(&path, Architecture::ResNet18, SEVEN, HeadOf::Network);
    assert!(
        error.contains("1 missing: `layer1.0.bn1.weight`"),
        "{error}"
    );
    assert!(
        error.contains("1 unexpected: `layer1.0.norm.weight`"),
        "{error}"
    );
}

#[test]
fn batch_counts_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    network(Architecture::ResNet18, SEVEN, 1)
        .save(&path, None)
        .unwrap();
    let mut file = TensorFile::read(&path).unwrap();
    file.tensors
        .retain(|name, _| !name.ends_with("num_batches_tracked"));
    file.write(&path).unwrap();
    network(Architecture::ResNet18, SEVEN, 2)
        .load(&path, HeadOf::File)
        .unwrap();
}

#[test]
fn a_cut_file_or_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    network(Architecture::ResNet18, SEVEN, 1)
        .save(&path, None)
        .unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = message(&path, Architecture::ResNet18, SEVEN, HeadOf::File);
        assert!(
            error.contains("x.safetensors is not a complete safetensors file"),
            "{length}: {error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = message(&path, Architecture::ResNet18, SEVEN, HeadOf::File);
    assert!(
        error.contains("cannot read") && error.contains("No such file"),
        "{error}"
    );
}

#[test]
fn a_stem_stride_is_known_by_what_the_file_says_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let [one, two] = [1, 2].map(|stride| small(8, stride, 1));
    network(one, SEVEN, 1).save(&path, None).unwrap();
    let file = TensorFile::read(&path).unwrap();
    assert_eq!(file.architectures(), [one, two]);
    assert_eq!(file.head(two, 30.0), Some(SEVEN));
    assert!(network(two, SEVEN, 2).load(&path, HeadOf::File).is_ok());
    let error = message(&path, Architecture::ResNet18, SEVEN, HeadOf::File);
    assert!(
        error.contains("it is a checkpoint of small_resnet18_w8_s1_c1 or small_resnet18_w8_s2_c1"),
        "{error}"
    );

    // A file of the right network except for one tensor.
    let mut odd = TensorFile::read(&path).unwrap();
    let count = Tensor::from_slice(&[0_i64]);
    odd.tensors
        .insert("bn1.num_batches_tracked".to_owned(), count);
    odd.write(&path).unwrap();
    let error = message(&path, two, SEVEN, HeadOf::File);
    assert!(
        error.contains("`bn1.num_batches_tracked [1] instead of []`"),
        "{error}"
    );

    let provenance = json!({"architecture": one});
    network(one, SEVEN, 1)
        .save(&path, Some(provenance))
        .unwrap();
    assert_eq!(TensorFile::read(&path).unwrap().architectures(), [one]);
    let error = message(&path, two, SEVEN, HeadOf::File);
    assert!(
        error.ends_with(
            "is a checkpoint of small_resnet18_w8_s1_c1, and not of small_resnet18_w8_s2_c1"
        ),
        "{error}"
    );
    assert!(network(one, SEVEN, 2).load(&path, HeadOf::File).is_ok());
}
