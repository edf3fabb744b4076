//! The perceptron that the SpecKV paper released, out of its `.npz` file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use speckv::controller::{PAPER_FEATURES, PAPER_HIDDEN, PaperPredictor};
use zip::{ZipArchive, result::ZipError};

use crate::failure::{Failure, Outcome};

const HINT: &str =
    "the released file holds the float arrays W1 (6, 16), b1 (16), W2 (16, 1) and b2 (1)";

/// More than an array of the released shapes takes, header included.
const MOST_BYTES: u64 = 64 << 10;

/// Reads the weights: the arrays W1 (6, 16), b1 (16), W2 (16, 1) and b2 (1), of 4 or 8 byte floats.
///
/// # Errors
/// A file that cannot be read, is no such archive, or holds arrays that are missing, of another
/// shape or type, or not finite.
pub fn read(path: &Path) -> Outcome<PaperPredictor> {
    let file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
    let predictor = ZipArchive::new(file)
        .map_err(|error| error.to_string())
        .and_then(|mut archive| of(&mut archive));
    predictor.map_err(|reason| Failure::new(reason, HINT).about(path.display()))
}

fn of<R: Read + io::Seek>(archive: &mut ZipArchive<R>) -> Result<PaperPredictor, String> {
    let [features, units] = [PAPER_FEATURES as u64, PAPER_HIDDEN as u64];
    let mut hidden = Box::new([[0.0; PAPER_HIDDEN]; PAPER_FEATURES]);
    let (mut hidden_bias, mut output) =
        (Box::new([0.0; PAPER_HIDDEN]), Box::new([0.0; PAPER_HIDDEN]));
    let mut output_bias = [0.0];
    fill(archive, "W1", &[features, units], hidden.as_flattened_mut())?;
    fill(archive, "b1", &[units], &mut *hidden_bias)?;
    fill(archive, "W2", &[units, 1], &mut *output)?;
    fill(archive, "b2", &[1], &mut output_bias)?;
    Ok(PaperPredictor::Mlp { hidden, hidden_bias, output, output_bias: output_bias[0] })
}

/// The values of an array, in C order.
fn fill<R: Read + io::Seek>(
    archive: &mut ZipArchive<R>,
    name: &str,
    shape: &[u64],
    out: &mut [f64],
) -> Result<(), String> {
    let member = archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
        ZipError::FileNotFound => format!("the array {name} is missing"),
        error => format!("{name}: {error}"),
    })?;
    let array =
        npyz::NpyFile::new(member.take(MOST_BYTES)).map_err(|error| format!("{name}: {error}"))?;
    // Checked before anything of that size is read: a header may promise more than there is.
    if array.shape() != shape || (shape.len() > 1 && array.order() != npyz::Order::C) {
        return Err(format!(
            "expected {name} to have the shape {shape:?} in C order, got {:?}",
            array.shape()
        ));
    }
    let singles = array.dtype().descr().contains("f4");
    let values: Vec<f64> = if singles {
        array.into_vec::<f32>().map(|values| values.into_iter().map(f64::from).collect())
    } else {
        array.into_vec::<f64>()
    }
    .map_err(|error| format!("{name}: {error}"))?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("expected finite numbers in {name}, got {value}"));
    }
    out.copy_from_slice(&values);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// An array as NumPy writes it: version 1.0, little endian.
    fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let padded = format!("{header:<117}\n"); // magic, version, length and header are 128 bytes
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(padded.len()).expect("118").to_le_bytes());
        file.extend(padded.as_bytes());
        file.extend(bytes);
        file
    }

    fn doubles(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
        values.into_iter().flat_map(f64::to_le_bytes).collect()
    }

    fn released() -> Vec<(&'static str, Vec<u8>)> {
        let w2: Vec<u8> = (0..16).flat_map(|i| (i as f32).to_le_bytes()).collect();
        vec![
            ("W1.npy", npy("<f8", "(6, 16)", &doubles((0..96).map(f64::from)))),
            ("b1.npy", npy("<f8", "(16,)", &doubles([0.5; 16]))),
            ("W2.npy", npy("<f4", "(16, 1)", &w2)),
            ("b2.npy", npy("<f8", "(1,)", &doubles([0.25]))),
        ]
    }

    fn parsed(members: &[(&str, Vec<u8>)]) -> Result<PaperPredictor, String> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            writer.start_file(*name, SimpleFileOptions::default()).expect("a member");
            writer.write_all(bytes).expect("written");
        }
        let archive = writer.finish().expect("an archive");
        of(&mut ZipArchive::new(archive).expect("an archive"))
    }

    #[test]
    fn the_released_arrays_become_the_perceptron() {
        let Ok(PaperPredictor::Mlp { hidden, hidden_bias, output, output_bias }) =
            parsed(&released())
        else {
            panic!("the arrays are as released")
        };
        assert_eq!((hidden[0][1], hidden[5][15]), (1.0, 95.0));
        assert_eq!((hidden_bias[3], output[15], output_bias), (0.5, 15.0, 0.25));
    }

    #[test]
    fn arrays_that_are_missing_misshapen_or_broken_are_refused_by_name() {
        for (index, wrong, said) in [
            (0, npy("<f8", "(16, 6)", &doubles((0..96).map(f64::from))), "W1"),
            (1, npy("<f8", "(16,)", &doubles([f64::NAN; 16])), "b1"),
            (2, npy("<f8", "(1000000000, 1000000000)", &[]), "W2"),
            (3, npy("<i8", "(1,)", &[0; 8]), "b2"),
            (1, npy("<f8", "(16,)", &[0; 9]), "b1"),
            (0, b"not an array".to_vec(), "W1"),
        ] {
            let mut members = released();
            members[index].1 = wrong;
            let error = parsed(&members).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        let error = parsed(&released()[..3]).expect_err("b2 is not there");
        assert!(error.contains("b2") && error.contains("missing"), "{error}");
    }
}
