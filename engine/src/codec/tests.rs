use proptest::prelude::*;

use super::*;
use crate::packet::downcast;

/// A payload with a text and a list.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    values: Vec<u16>,
}

impl Payload for Sample {}

/// Encodes the values and the name.
struct SampleV2;

impl Codec for SampleV2 {
    type Payload = Sample;
    const NAME: &'static str = "sample";
    const VERSION: u32 = 2;

    fn encode(sample: &Sample, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        bytes.push(u8::try_from(sample.values.len())?);
        bytes.extend(sample.values.iter().flat_map(|value| value.to_le_bytes()));
        bytes.push(u8::try_from(sample.name.len())?);
        bytes.extend(sample.name.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Sample, ActorError> {
        let (&count, rest) = bytes.split_first().ok_or("empty")?;
        let (values, rest) = rest
            .split_at_checked(2 * usize::from(count))
            .ok_or("the values are cut")?;
        let (&length, name) = rest.split_first().ok_or("no name")?;
        if name.len() != usize::from(length) {
            return Err(format!("a name of {length} bytes, but {} follow", name.len()).into());
        }
        Ok(Sample {
            name: std::str::from_utf8(name)?.to_owned(),
            values: values
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect(),
        })
    }
}

/// Encodes only the name.
struct SampleV1;

impl Codec for SampleV1 {
    type Payload = Sample;
    const NAME: &'static str = "sample";
    const VERSION: u32 = 1;

    fn encode(sample: &Sample, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        bytes.extend(sample.name.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Sample, ActorError> {
        Ok(Sample {
            name: std::str::from_utf8(bytes)?.to_owned(),
            values: Vec::new(),
        })
    }
}

struct Other;
impl Payload for Other {}

fn codecs() -> Codecs {
    let mut codecs = Codecs::default();
    codecs.register::<SampleV2>();
    codecs.register::<SampleV1>();
    codecs
}

fn sample(name: &str) -> Sample {
    Sample {
        name: name.to_owned(),
        values: vec![1, 2],
    }
}

#[test]
fn the_newest_version_is_written_and_all_are_read() {
    let codecs = codecs();
    let mut bytes = Vec::new();
    let form = codecs.encode(&sample("a"), &mut bytes).unwrap();
    assert_eq!(form.to_string(), "sample 2");
    let old = codecs.decode("sample", 1, b"a").unwrap();
    assert_eq!(downcast::<Sample>(old).ok().unwrap().name, "a");
}

#[test]
fn what_is_not_known_is_refused_with_what_is() {
    let codecs = codecs();
    let refused = |name, version| codecs.decode(name, version, b"").unwrap_err().to_string();
    assert_eq!(
        refused("sample", 3),
        "no codec for version 3 of `sample`; known: 1, 2"
    );
    assert_eq!(
        refused("simple", 2),
        "no codec for payloads called `simple`; known: sample 1, sample 2"
    );
    let error = codecs.encode(&Other, &mut Vec::new()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("no codec for payloads of type ") && error.contains("::Other: "),
        "{error}"
    );
    assert!(error.ends_with("; known: sample 1, sample 2"), "{error}");
    let error = Codecs::default().encode(&Other, &mut Vec::new());
    assert!(error.unwrap_err().to_string().ends_with("known: none"));
}

#[test]
fn a_payload_that_does_not_fit_leaves_the_bytes_as_they_were() {
    let mut bytes = vec![7];
    let error = codecs().encode(&sample(&"long".repeat(100)), &mut bytes);
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot encode a payload as `sample 2`: "),
        "{error}"
    );
    assert_eq!(bytes, [7]);
}

#[test]
#[should_panic = "codec `sample 1` is registered twice"]
fn a_version_is_registered_once() {
    codecs().register::<SampleV1>();
}

#[test]
#[should_panic = "codecs of two payload types are called `sample`"]
fn a_name_stands_for_one_type() {
    struct Stranger;
    impl Codec for Stranger {
        type Payload = Other;
        const NAME: &'static str = "sample";
        const VERSION: u32 = 3;

        fn encode(_: &Other, _: &mut Vec<u8>) -> Result<(), ActorError> {
            Ok(())
        }

        fn decode(_: &[u8]) -> Result<Other, ActorError> {
            Ok(Other)
        }
    }
    codecs().register::<Stranger>();
}

proptest! {
    #[test]
    fn what_is_written_reads_back_whole_and_never_in_parts(
        name in "\\PC{0,20}", values in proptest::collection::vec(any::<u16>(), 0..20), before in any::<Vec<u8>>()
    ) {
        let sample = Sample { name, values };
        let mut bytes = before.clone();
        let form = codecs().encode(&sample, &mut bytes).unwrap();
        prop_assert_eq!(&bytes[..before.len()], &before[..]);
        let bytes = &bytes[before.len()..];
        let back = codecs().decode(form.name, form.version, bytes).unwrap();
        prop_assert_eq!(&*downcast::<Sample>(back).ok().unwrap(), &sample);
        for end in 0..bytes.len() {
            let cut = codecs().decode(form.name, form.version, &bytes[..end]);
            let said = cut.err().map(|error| error.to_string());
            let expected = format!("{end} bytes are not a valid `sample 2`: ");
            prop_assert!(said.is_some_and(|said| said.starts_with(&expected)));
        }
        let longer = [bytes, &[0]].concat();
        prop_assert!(codecs().decode(form.name, form.version, &longer).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), version in 0..4_u32) {
        let read = codecs().decode("sample", version, &bytes);
        prop_assert!(read.is_ok() || version != 1 || std::str::from_utf8(&bytes).is_err());
    }
}
