//! Numbers in rows and columns, one after the other in memory.

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    values: Vec<f64>,
    columns: usize,
}

impl Matrix {
    /// A matrix of zeros; there is at least one column.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { values: vec![0.0; rows * columns], columns }
    }

    /// A matrix of values row by row; their number is a multiple of the columns.
    #[cfg(test)]
    pub fn of(values: Vec<f64>, columns: usize) -> Self {
        Self { values, columns }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values of a row, which is counted from 0.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// One row, to be written.
    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// The rows in order, each with one value a column.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// Mean and standard deviation (of the whole, n) of each column.
    pub fn means_and_deviations(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.rows().max(1) as f64;
        let mut means = vec![0.0; self.columns];
        self.iter().for_each(|row| means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n));
        let mut variances = vec![0.0; self.columns];
        for row in self.iter() {
            for ((variance, value), mean) in variances.iter_mut().zip(row).zip(&means) {
                *variance += (value - mean) * (value - mean) / n;
            }
        }
        (means, variances.into_iter().map(f64::sqrt).collect())
    }

    /// Each column moved by its mean and divided by its deviation; a column that does not vary becomes zero.
    pub fn standardised(&self, means: &[f64], deviations: &[f64]) -> Self {
        let mut standard = Self::zeros(self.rows(), self.columns);
        for (to, from) in standard.values.chunks_exact_mut(self.columns).zip(self.iter()) {
            standardise(from, means, deviations, to);
        }
        standard
    }

    /// As the library that fits takes it. The values are copied.
    pub fn dense(&self) -> Result<smartcore::linalg::basic::matrix::DenseMatrix<f64>, super::Error> {
        let dense =
            smartcore::linalg::basic::matrix::DenseMatrix::new(self.rows(), self.columns, self.values.clone(), false);
        dense.map_err(|failed| super::Error::Fit(failed.to_string()))
    }
}

/// One row standardised into another.
pub fn standardise(from: &[f64], means: &[f64], deviations: &[f64], to: &mut [f64]) {
    for (column, value) in to.iter_mut().enumerate() {
        let deviation = deviations[column];
        *value = if deviation > 0.0 { (from[column] - means[column]) / deviation } else { 0.0 };
    }
}
