//! Steps and objectives in memory; whole runs are in `tests/main/training.rs`.

use tch::{Device, Kind, Tensor};

use super::objective::Seen;
use super::*;
use crate::losses::{self, CrossEntropy, NegativeStage};

const CLASSES: i64 = 3;

fn objective(yaml: &str) -> Objective {
    serde_saphyr::from_str(yaml).unwrap()
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).reshape([-1, CLASSES])
}

/// Returns student, teacher and labels of four rows; the teacher doubts the second label.
fn rows() -> (Tensor, Tensor, Vec<i64>) {
    let student = tensor(&[1.0, 0.2, -0.5, 0.1, 0.0, 2.0, -1.0, 0.5, 0.3, 0.0, 0.0, 0.1]);
    let teacher = tensor(&[2.0, 0.1, 0.0, 3.0, -1.0, 0.0, 0.0, 2.5, 0.1, 0.3, 0.2, 1.5]);
    (student, teacher, vec![0, 1, 1, 2])
}

/// Vote shares of the same rows.
const VOTES: [f64; 12] = [0.8, 0.1, 0.1, 0.2, 0.5, 0.3, 0.0, 1.0, 0.0, 0.3, 0.3, 0.4];

/// Returns the loss of an objective in an epoch.
fn loss(yaml: &str, epoch: u32) -> f64 {
    let (student, teacher, label_values) = rows();
    let objective = objective(yaml);
    let labels = Tensor::from_slice(&label_values);
    let targets = tensor(&VOTES);
    let seen = Seen {
        logits: &student,
        labels: &labels,
        label_values: &label_values,
        teacher: objective.needs_teacher().then_some(&teacher),
        targets: objective.soft_targets.then_some(&targets),
        epoch,
        key: [1, u64::from(epoch), 0],
    };
    let settings = objective
        .cross_entropy(&[0, 0, 1, 2], CLASSES as usize)
        .unwrap();
    objective.loss(&seen, &settings).double_value(&[])
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-12,
        "{found} is not {expected}"
    );
}

#[test]
fn terms_are_put_together_as_they_are_written() {
    let (student, teacher, labels) = rows();
    let labels = Tensor::from_slice(&labels);
    let plain = CrossEntropy::default();
    let entropy = losses::cross_entropy(&student, &labels, &plain);
    let value = |tensor: &Tensor| tensor.double_value(&[]);
    close(loss("{}", 0), value(&entropy));

    let kd = losses::distillation(&student, &teacher, 2.0);
    let found = loss("distillation: {plain: {temperature: 2, alpha: 0.3}}", 0);
    close(found, 0.7 * value(&entropy) + 0.3 * value(&kd));

    let [s, t] = [&student, &teacher].map(losses::standardised);
    let kd = losses::distillation(&s, &t, 2.0);
    let found = loss(
        "distillation: {plain: {temperature: 2, alpha: 0.3, standardised: true}}",
        0,
    );
    close(found, 0.7 * value(&entropy) + 0.3 * value(&kd));

    let parts = losses::correlation::correlations(&student, &teacher, 4.0);
    let found = loss("distillation: {correlation: {temperature: 4, gamma: 3}}", 0);
    close(
        found,
        value(&entropy) + 2.0 * value(&parts.between_classes) + 3.0 * value(&parts.within_classes),
    );

    let soft = losses::cross_entropy(&student, &tensor(&VOTES), &plain);
    close(loss("soft_targets: true", 0), value(&soft));
    let found = loss(
        "{soft_targets: true, distillation: {plain: {temperature: 2, alpha: 0.3}}}",
        0,
    );
    let kd = losses::distillation(&student, &teacher, 2.0);
    close(found, 0.7 * value(&soft) + 0.3 * value(&kd));

    let parts = losses::decoupled(&student, &teacher, &labels, 2.0);
    // `report` is the name of this form in settings of earlier versions.
    for form in ["blended", "report"] {
        let settings = format!(
            "distillation: {{decoupled: {{temperature: 2, alpha: 0.5, beta: 4, form: {form}}}}}"
        );
        close(
            loss(&settings, 0),
            0.5 * value(&entropy) + 0.5 * value(&parts.target) + 4.0 * value(&parts.others),
        );
    }
    // The second epoch of a warm-up of four.
    let reference = "distillation: {decoupled: {temperature: 2, alpha: 1, beta: 8, form: {reference: {cross_entropy: 1, warm_up: 4}}}}";
    let expected = value(&entropy) + 0.5 * (value(&parts.target) + 8.0 * value(&parts.others));
    close(loss(reference, 1), expected);
}

#[test]
fn classes_that_are_rare_weigh_more_and_are_adjusted() {
    let (student, _, labels) = rows();
    let labels = Tensor::from_slice(&labels);
    // Two, one and one of four rows.
    let settings = CrossEntropy {
        label_smoothing: 0.1,
        class_weights: Some(vec![4.0 / 6.0, 4.0 / 3.0, 4.0 / 3.0]),
        logit_adjustment: Some([0.5f64, 0.25, 0.25].map(|share| 2.0 * share.ln()).to_vec()),
    };
    let expected = losses::cross_entropy(&student, &labels, &settings).double_value(&[]);
    close(
        loss(
            "{label_smoothing: 0.1, class_weights: balanced, logit_adjustment: 2}",
            0,
        ),
        expected,
    );
    let absent = objective("{logit_adjustment: 1}").cross_entropy(&[0, 2], 3);
    assert_eq!(absent, Err(1));
    assert!(objective("{}").cross_entropy(&[0, 2], 3).is_ok());
}

#[test]
fn negative_learning_goes_through_its_stages() {
    let (student, teacher, labels) = rows();
    let staged = "negative: {staged: {all: 1, selected: 2}}";
    let label_tensor = Tensor::from_slice(&labels);
    let others = |epoch: u64| {
        let key = [0x4E65_6761, 1, epoch, 0];
        Tensor::from_slice(&losses::complementary(&labels, CLASSES, &key))
    };
    for (epoch, stage) in [
        (0, NegativeStage::All),
        (1, NegativeStage::Selected),
        (2, NegativeStage::Selected),
        (3, NegativeStage::Positive),
    ] {
        let expected = losses::selective(&student, &label_tensor, &others(epoch), stage);
        close(loss(staged, epoch as u32), expected.double_value(&[]));
    }
    let added = loss("{}", 0)
        + 0.5
            * losses::negative(&student, &others(0))
                .mean(None::<Kind>)
                .double_value(&[]);
    close(loss("negative: {added: {weight: 0.5}}", 0), added);
    let doubted = losses::negative_of_doubted(&student, &teacher, &label_tensor, &others(0))
        .double_value(&[]);
    assert!(doubted > 0.0);
    close(
        loss("negative: {of_doubted: {weight: 0.5}}", 0),
        loss("{}", 0) + 0.5 * doubted,
    );
}

#[test]
fn wrong_objectives_are_named() {
    let problems = |yaml: &str| objective(yaml).problems();
    assert!(problems("{}").is_empty());
    let both = "{distillation: {plain: {temperature: 0, alpha: 2}}, negative: {staged: {all: 1, selected: 1}}}";
    let found = problems(both);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("distillation.temperature is 0; expected above 0"),
        "{found:?}"
    );
    let found = problems("{negative: {added: {weight: -1}}, logit_adjustment: -1}");
    assert_eq!(found.len(), 2, "{found:?}");
    let unknown = serde_saphyr::from_str::<Objective>(
        "distillation: {plain: {temperature: 2, alpha: 0.5, beta: 4}}",
    );
    assert!(unknown.unwrap_err().to_string().contains("beta"));
}

fn trainer(more: &str) -> Trainer {
    let yaml = format!(
        "architecture: resnet18\nbatch: 4\nepochs: 1\naugmentation: {{flip: 0, shift: 0, scale: 0}}\n{more}"
    );
    let spec = serde_saphyr::from_str(&yaml).unwrap();
    Trainer::new(
        spec,
        [3, 32, 32],
        &[0, 1, 2, 1, 0, 1, 2, 1],
        CLASSES,
        Device::Cpu,
    )
    .unwrap()
}

fn batch() -> Batch {
    let (_, teacher, labels) = rows();
    let mut logits = vec![0f32; 12];
    teacher.to_kind(Kind::Float).copy_data(&mut logits, 12);
    Batch {
        epoch: 0,
        step: 0,
        inputs: (0..4 * 3 * 32 * 32)
            .map(|index| (index as f32 / 700.0).sin())
            .collect(),
        labels,
        teacher: Some(logits),
        targets: Some(VOTES.map(|share| share as f32).to_vec()),
    }
}

/// Returns the same rows as the next step of a training.
fn next(trainer: &Trainer) -> Batch {
    let Progress { epoch, step, .. } = *trainer.progress();
    Batch {
        epoch,
        step,
        ..batch()
    }
}

/// Trains the next step.
fn step(trainer: &mut Trainer) -> StepDone {
    trainer.train(&next(trainer)).unwrap()
}

/// Returns predictions of two rows.
fn validation() -> crate::predictions::Predictions {
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    crate::predictions::Predictions::new(classes, vec![0.5; 6], &[1, 1]).unwrap()
}

#[test]
fn a_batch_that_is_not_of_the_training_is_refused() {
    let distilling = "objective: {distillation: {plain: {temperature: 2, alpha: 0.5}}}";
    let mut trainer = trainer(distilling);
    let mut refused = |change: fn(&mut Batch), words: &str| {
        let mut wrong = batch();
        change(&mut wrong);
        let error = trainer.train(&wrong).unwrap_err().to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
    };
    refused(|batch| batch.teacher = None, "no teacher's logits");
    refused(
        |batch| batch.teacher = Some(vec![0.0; 8]),
        "8 logits for 4 rows of 3",
    );
    refused(
        |batch| batch.teacher = Some(vec![f32::NAN; 12]),
        "not finite",
    );
    refused(|batch| batch.labels[1] = 3, "the label 3; expected 0 to 2");
    refused(|batch| batch.labels[1] = -1, "the label -1");
    refused(
        |batch| batch.labels.truncate(3),
        "values for 3 rows of [3, 32, 32]",
    );
    refused(
        |batch| batch.labels.truncate(1),
        "1 rows; expected at least 2",
    );
    assert_eq!(trainer.progress().step, 0);

    // Two steps make an epoch.
    assert!(step(&mut trainer).loss.is_finite());
    let error = trainer.end_epoch(&validation()).unwrap_err().to_string();
    assert!(error.contains("1 steps left"), "{error}");
    step(&mut trainer);
    let error = trainer.train(&next(&trainer)).unwrap_err().to_string();
    assert!(error.contains("epoch 0 has had all its 2 steps"), "{error}");
    let row = trainer.end_epoch(&validation()).unwrap();
    assert_eq!((row.epoch, row.rows, row.accuracy), (0, 8, 0.0));
    assert!(trainer.is_done());
    let error = trainer.train(&next(&trainer)).unwrap_err().to_string();
    assert!(error.contains("nothing left to do"), "{error}");
}

#[test]
fn only_the_next_batch_is_trained() {
    let mut trainer = trainer("");
    let refused = |trainer: &mut Trainer, epoch, step, words: &str| {
        let other = Batch {
            epoch,
            step,
            ..batch()
        };
        let error = trainer.train(&other).unwrap_err().to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
    };
    refused(
        &mut trainer,
        0,
        1,
        "it is step 1 of epoch 0, and the next is step 0 of epoch 0",
    );
    refused(&mut trainer, 1, 0, "it is step 0 of epoch 1");
    step(&mut trainer);
    // The same step again.
    refused(&mut trainer, 0, 0, "and the next is step 1 of epoch 0");
    assert_eq!(trainer.progress().step, 1);
}

#[test]
fn targets_that_are_no_distributions_are_refused() {
    let mut trainer = trainer("objective: {soft_targets: true}");
    for (targets, words) in [
        (None, "no targets, which the objective needs"),
        (Some(vec![1.0; 12]), "not a distribution over the classes"),
        (Some(vec![1.0, 0.0, 0.0]), "not a distribution"),
        (Some([1.5, -0.5, 0.0].repeat(4)), "not a distribution"),
        (Some([f32::NAN, 1.0, 0.0].repeat(4)), "not a distribution"),
    ] {
        let mut wrong = batch();
        wrong.targets = targets;
        let error = trainer.train(&wrong).unwrap_err().to_string();
        assert!(error.contains(words), "`{words}` is not in: {error}");
    }
    assert!(step(&mut trainer).loss.is_finite());
}

#[test]
fn epochs_that_are_added_have_a_schedule_of_their_own_and_finite_weights() {
    for rule in [
        "adam_w: {beta1: 0.9, beta2: 0.999, epsilon: 1e-8}",
        "sgd: {momentum: 0.9, nesterov: true}",
    ] {
        let mut trainer = trainer(&format!(
            "rule: {{{rule}}}\nlearning_rate: {{base: 0.01, least: 0, warm_up_epochs: 0}}\n"
        ));
        let mut rates = Vec::new();
        let mut epoch = |trainer: &mut Trainer| {
            for _ in 0..2 {
                rates.push(step(trainer).rate);
            }
            trainer.end_epoch(&validation()).unwrap();
        };
        epoch(&mut trainer);
        // The training continues from a checkpoint as if it had not been interrupted.
        let error = trainer.extend(0).unwrap_err().to_string();
        assert!(error.contains("nothing left to do"), "{error}");
        let before = trainer.progress().clone();
        let error = trainer.extend(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("stands at epoch 1"), "{error}");
        assert_eq!(*trainer.progress(), before);
        trainer.extend(2).unwrap();
        let checkpoint = trainer.checkpoint();
        trainer.restore(&checkpoint).unwrap();
        epoch(&mut trainer);
        epoch(&mut trainer);
        assert!(trainer.is_done());
        let half = |step: f64, of: f64| 0.005 * (1.0 + (std::f64::consts::PI * step / of).cos());
        let expected = [
            half(0.0, 2.0),
            half(1.0, 2.0),
            half(0.0, 4.0),
            half(1.0, 4.0),
            half(2.0, 4.0),
            half(3.0, 4.0),
        ];
        for (found, expected) in rates.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{rates:?}");
        }
        for named in trainer.network().tensors() {
            assert!(
                named.tensor.isfinite().all().int64_value(&[]) != 0,
                "{}",
                named.spec.name
            );
        }
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_training_and_leaves_the_weights() {
    let mut trainer = trainer("");
    let weight = trainer.network().head_weight().copy();
    let mut broken = batch();
    broken.inputs[7] = f32::NAN;
    let error = trainer.train(&broken).unwrap_err().to_string();
    assert!(
        error.contains("epoch 0, step 0: the loss is NaN: the training has diverged"),
        "{error}"
    );
    assert!(trainer.network().head_weight().equal(&weight));
    assert_eq!(trainer.progress().step, 0);
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let mut sgd = trainer("rule: {sgd: {momentum: 0.9, nesterov: false}}");
    step(&mut sgd);
    let checkpoint = sgd.checkpoint();
    let error = trainer("").restore(&checkpoint).unwrap_err().to_string();
    assert!(
        error.contains("the optimiser's state does not fit"),
        "{error}"
    );
    let averaging = "rule: {sgd: {momentum: 0.9, nesterov: false}}\naverage_decay: 0.9";
    let error = trainer(averaging)
        .restore(&checkpoint)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no average of the weights"), "{error}");
    let bare = crate::weights::TensorFile {
        provenance: None,
        ..sgd.checkpoint()
    };
    let error = sgd.restore(&bare).unwrap_err().to_string();
    assert!(error.contains("not a checkpoint of a training"), "{error}");
    assert!(sgd.restore(&checkpoint).is_ok());

    let mut two_steps = trainer("");
    step(&mut two_steps);
    step(&mut two_steps);
    let spec = TrainingSpec {
        batch: 8,
        ..two_steps.spec().clone()
    };
    let labels = [0, 1, 2, 1, 0, 1, 2, 1];
    let mut one_step = Trainer::new(spec, [3, 32, 32], &labels, CLASSES, Device::Cpu).unwrap();
    let error = one_step.restore(&two_steps.checkpoint()).unwrap_err();
    assert!(
        error.to_string().contains("2 steps in an epoch of 1"),
        "{error}"
    );
}

#[test]
fn the_plan_of_an_epoch_covers_the_rows_in_steps() {
    let labels: Vec<usize> = (0..13).map(|row| row % 3).collect();
    let spec = |batch: usize| TrainingSpec {
        batch,
        ..trainer("").spec().clone()
    };
    let sizes = |batch: usize| {
        spec(batch)
            .epoch(&labels, 0)
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(5), [5, 5, 3]);
    // A single row is left out.
    assert_eq!(sizes(4), [4, 4, 4]);
    assert_eq!(sizes(20), [13]);
    for batch in [4, 5, 20] {
        assert_eq!(spec(batch).steps(13) as usize, sizes(batch).len());
    }
    let mut rows: Vec<usize> = spec(5)
        .epoch(&labels, 3)
        .into_iter()
        .flatten()
        .map(|(row, _)| row)
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..13).collect::<Vec<_>>());
}
