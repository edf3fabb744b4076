//! A multilayer perceptron for regression, by the recipe that the paper took from scikit-learn.

use super::{super::data::FEATURES, Features, Regressor};
use crate::statistics::MersenneTwister;

/// How it is fitted. The defaults are the paper's.
#[derive(Debug, Clone, PartialEq)]
pub struct PerceptronSettings {
    /// Widths of the hidden layers, from the input on.
    pub hidden: Vec<usize>,
    /// Rows of a minibatch.
    pub batch: usize,
    /// Adam's step size.
    pub step_size: f64,
    /// L2 penalty.
    pub penalty: f64,
    /// Most passes over the rows.
    pub epochs: usize,
    /// By how much the loss of a pass must be below the best before it counts as better.
    pub tolerance: f64,
    /// Passes in a row without that after which fitting goes on no longer.
    pub patience: usize,
}

impl Default for PerceptronSettings {
    fn default() -> Self {
        PerceptronSettings {
            hidden: vec![16],
            batch: 200,
            step_size: 1e-3,
            penalty: 1e-4,
            epochs: 500,
            tolerance: 1e-4,
            patience: 10,
        }
    }
}

/// One layer: `y = x W + b`.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    weights: Vec<f64>, // [inputs, outputs]
    bias: Vec<f64>,    // [outputs]
}

impl Layer {
    /// Uniform in +- sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010), biases too.
    fn random(inputs: usize, outputs: usize, stream: &mut MersenneTwister) -> Self {
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        let mut draw =
            |count| (0..count).map(|_| -bound + 2.0 * bound * stream.uniform()).collect();
        Layer { weights: draw(inputs * outputs), bias: draw(outputs) }
    }

    fn zeros_like(&self) -> Self {
        Layer { weights: vec![0.0; self.weights.len()], bias: vec![0.0; self.bias.len()] }
    }

    fn forward(&self, x: &[f64], y: &mut Vec<f64>) {
        y.clear();
        y.extend_from_slice(&self.bias);
        for (x, weights) in x.iter().zip(self.weights.chunks_exact(self.bias.len())) {
            y.iter_mut().zip(weights).for_each(|(y, w)| *y += x * w);
        }
    }

    fn values(&mut self) -> impl Iterator<Item = &mut f64> {
        self.weights.iter_mut().chain(&mut self.bias)
    }
}

/// ReLU between layers, one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Perceptron {
    layers: Vec<Layer>,
    /// Passes over the rows that fitting took.
    pub epochs: usize,
}

impl Perceptron {
    /// Minimises half the mean squared error plus the penalty with Adam (Kingma and Ba 2015) over
    /// minibatches in a new order in each pass. Weights and orders come from NumPy's stream of the
    /// seed, so that results agree with scikit-learn's up to rounding.
    ///
    /// # Panics
    /// If the lengths differ, there are no rows, or the batch is 0.
    #[must_use]
    pub fn fit(settings: &PerceptronSettings, x: &[Features], y: &[f64], seed: u32) -> Self {
        assert!(x.len() == y.len() && !x.is_empty(), "a value for every row");
        let mut stream = MersenneTwister::new(seed);
        let mut widths = vec![FEATURES];
        widths.extend(&settings.hidden);
        widths.push(1);
        let layers =
            widths.windows(2).map(|pair| Layer::random(pair[0], pair[1], &mut stream)).collect();
        let mut model = Perceptron { layers, epochs: 0 };
        let mut adam = Adam::new(&model.layers, settings.step_size);
        let mut trial = Trial::new(&model.layers);
        let mut order: Vec<usize> = (0..x.len()).collect();
        let (mut best, mut unimproved) = (f64::INFINITY, 0);
        while model.epochs < settings.epochs && unimproved <= settings.patience {
            let shuffled = stream.permutation(order.len());
            order = shuffled.into_iter().map(|place| order[place]).collect();
            let mut loss = 0.0; // sum over the rows of this pass
            for batch in order.chunks(settings.batch.min(x.len())) {
                loss += trial.measure(&model.layers, batch, x, y, settings.penalty);
                adam.step(&mut model.layers, &mut trial.gradients);
            }
            model.epochs += 1;
            let loss = loss / x.len() as f64;
            unimproved = if loss > best - settings.tolerance { unimproved + 1 } else { 0 };
            best = best.min(loss);
        }
        model
    }
}

impl Regressor for Perceptron {
    fn raw(&self, x: &Features) -> f64 {
        let (mut values, mut next) = (x.to_vec(), Vec::new());
        for (at, layer) in self.layers.iter().enumerate() {
            layer.forward(&values, &mut next);
            std::mem::swap(&mut values, &mut next);
            if at + 1 < self.layers.len() {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        values[0]
    }
}

/// Loss and gradients of a batch, with the memory that they need.
struct Trial {
    gradients: Vec<Layer>,
    activations: Vec<Vec<f64>>, // [layers + 1], of one row
    deltas: Vec<f64>,
    below: Vec<f64>,
}

impl Trial {
    fn new(layers: &[Layer]) -> Self {
        Trial {
            gradients: layers.iter().map(Layer::zeros_like).collect(),
            activations: vec![Vec::new(); layers.len() + 1],
            deltas: Vec::new(),
            below: Vec::new(),
        }
    }

    /// Fills the gradients and gives the loss times the batch's rows.
    fn measure(
        &mut self,
        layers: &[Layer],
        batch: &[usize],
        x: &[Features],
        y: &[f64],
        penalty: f64,
    ) -> f64 {
        self.gradients.iter_mut().flat_map(Layer::values).for_each(|value| *value = 0.0);
        let mut squares = 0.0;
        for &row in batch {
            let error = self.forward(layers, &x[row]) - y[row];
            squares += error * error;
            self.backward(layers, error);
        }
        let count = batch.len() as f64;
        let mut norm = 0.0;
        for (gradient, layer) in self.gradients.iter_mut().zip(layers) {
            norm += layer.weights.iter().map(|w| w * w).sum::<f64>();
            gradient
                .weights
                .iter_mut()
                .zip(&layer.weights)
                .for_each(|(g, w)| *g = (*g + penalty * w) / count);
            gradient.bias.iter_mut().for_each(|g| *g /= count);
        }
        0.5 * squares + 0.5 * penalty * norm
    }

    fn forward(&mut self, layers: &[Layer], x: &Features) -> f64 {
        self.activations[0].clear();
        self.activations[0].extend_from_slice(x);
        for (at, layer) in layers.iter().enumerate() {
            let (before, after) = self.activations.split_at_mut(at + 1);
            layer.forward(&before[at], &mut after[0]);
            if at + 1 < layers.len() {
                after[0].iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        self.activations[layers.len()][0]
    }

    fn backward(&mut self, layers: &[Layer], error: f64) {
        self.deltas.clear();
        self.deltas.push(error);
        for at in (0..layers.len()).rev() {
            let (layer, gradient, inputs) =
                (&layers[at], &mut self.gradients[at], &self.activations[at]);
            let outputs = layer.bias.len();
            gradient.bias.iter_mut().zip(&self.deltas).for_each(|(g, delta)| *g += delta);
            self.below.clear();
            let rows =
                gradient.weights.chunks_exact_mut(outputs).zip(layer.weights.chunks_exact(outputs));
            for (input, (gradients, weights)) in inputs.iter().zip(rows) {
                // A silent unit has neither a gradient nor anything to pass on.
                if *input == 0.0 && at > 0 {
                    self.below.push(0.0);
                    continue;
                }
                gradients.iter_mut().zip(&self.deltas).for_each(|(g, delta)| *g += input * delta);
                self.below.push(weights.iter().zip(&self.deltas).map(|(w, delta)| w * delta).sum());
            }
            std::mem::swap(&mut self.deltas, &mut self.below);
        }
    }
}

/// Adam's moments.
struct Adam {
    first: Vec<Layer>,
    second: Vec<Layer>,
    steps: i32,
    step_size: f64,
}

impl Adam {
    const DECAY: [f64; 2] = [0.9, 0.999];
    const EPSILON: f64 = 1e-8;

    fn new(layers: &[Layer], step_size: f64) -> Self {
        let zeros = || layers.iter().map(Layer::zeros_like).collect();
        Adam { first: zeros(), second: zeros(), steps: 0, step_size }
    }

    fn step(&mut self, layers: &mut [Layer], gradients: &mut [Layer]) {
        self.steps += 1;
        let [decay_first, decay_second] = Self::DECAY;
        let corrected = self.step_size * (1.0 - decay_second.powi(self.steps)).sqrt()
            / (1.0 - decay_first.powi(self.steps));
        let weights = layers.iter_mut().flat_map(Layer::values);
        let gradients = gradients.iter_mut().flat_map(Layer::values);
        let moments = self
            .first
            .iter_mut()
            .flat_map(Layer::values)
            .zip(self.second.iter_mut().flat_map(Layer::values));
        for ((weight, gradient), (first, second)) in weights.zip(gradients).zip(moments) {
            *first = decay_first * *first + (1.0 - decay_first) * *gradient;
            *second = decay_second * *second + (1.0 - decay_second) * *gradient * *gradient;
            *weight -= corrected * *first / (second.sqrt() + Self::EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::rows, *};

    /// Oracle: scikit-learn 1.9, `MLPRegressor(hidden_layer_sizes=..., max_iter=500,
    /// random_state=42)`: passes and the first three predictions.
    #[test]
    fn passes_and_predictions_are_those_of_scikit_learn() {
        let (x, y) = rows(300);
        let oracles: [(&[usize], usize, [f64; 3]); 2] = [
            (
                &[16],
                207,
                [0.233_563_359_681_601_63, 0.253_059_696_125_072_45, 0.551_722_961_372_097_1],
            ),
            (
                &[8, 4],
                30,
                [0.379_617_596_989_929_8, 0.338_607_565_047_240_3, 0.570_558_497_799_969_3],
            ),
        ];
        for (hidden, epochs, expected) in oracles {
            let settings =
                PerceptronSettings { hidden: hidden.to_vec(), ..PerceptronSettings::default() };
            let model = Perceptron::fit(&settings, &x, &y, 42);
            assert_eq!(model.epochs, epochs, "{hidden:?}");
            for (x, expected) in x.iter().zip(expected) {
                assert!(
                    (model.raw(x) - expected).abs() < 1e-9,
                    "{hidden:?}: {} for {expected}",
                    model.raw(x)
                );
            }
        }
    }

    #[test]
    fn gradients_are_the_differences_of_the_loss() {
        let (x, y) = rows(9);
        let mut stream = MersenneTwister::new(3);
        let mut layers = vec![
            Layer::random(6, 5, &mut stream),
            Layer::random(5, 3, &mut stream),
            Layer::random(3, 1, &mut stream),
        ];
        let batch: Vec<usize> = (0..9).collect();
        let mut trial = Trial::new(&layers);
        trial.measure(&layers, &batch, &x, &y, 0.3);
        let gradients = trial.gradients.clone();
        for layer in 0..layers.len() {
            for at in 0..layers[layer].weights.len() {
                let mut loss = |shift: f64| {
                    layers[layer].weights[at] += shift;
                    let loss = Trial::new(&layers).measure(&layers, &batch, &x, &y, 0.3) / 9.0;
                    layers[layer].weights[at] -= shift;
                    loss
                };
                let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                assert!(
                    (gradients[layer].weights[at] - slope).abs() < 1e-6,
                    "layer {layer}, weight {at}"
                );
            }
        }
    }
}
