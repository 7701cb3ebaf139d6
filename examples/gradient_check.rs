//! Verifying gradients with property tests: a function of one's own is checked against finite differences on
//! inputs that proptest makes up. In a project this is a `#[test]`; here it is a program that reports.

use gradus::autograd::{Function, apply};
use gradus::prelude::*;
use gradus_testkit::{Options, Reference, gradcheck, gradgradcheck};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// `x * sigmoid(beta * x)`, with its gradient written out.
#[derive(Debug)]
struct Swish {
    beta: f64,
    /// Leaves a term out of the gradient, to show that the check finds it.
    wrong: bool,
}

impl Function for Swish {
    fn name(&self) -> &'static str {
        "swish"
    }

    fn forward(&self, x: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].mul(&x[0].mul(self.beta)?.sigmoid()?)?])
    }

    fn backward(&self, x: &[Tensor], y: &[Tensor], g: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(g) = &g[0] else { return Ok(vec![None]) };
        let s = x[0].mul(self.beta)?.sigmoid()?;
        let slope = match self.wrong {
            true => s,
            // s + beta * y * (1 - s)
            false => s.add(&y[0].mul(&s.affine(-self.beta, self.beta)?)?)?,
        };
        Ok(vec![Some(g.mul(&slope)?)])
    }
}

fn main() {
    let mut runner = TestRunner::new(Config::with_cases(50));
    let inputs = (proptest::collection::vec(-4.0f64..4.0, 1..12), 0.1f64..3.0);

    let checked = runner.run(&inputs, |(values, beta)| {
        let n = values.len();
        let fail = |e: gradus::Error| TestCaseError::fail(e.to_string());
        let x = Tensor::from_vec(values, n, &Reference::device()).map_err(fail)?;
        let swish = |x: &[Tensor]| Ok(apply(Swish { beta, wrong: false }, &[&x[0]])?.remove(0));
        gradcheck(swish, &[&x], Options::default()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        gradgradcheck(swish, &[&x], Options::default()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        Ok(())
    });
    match checked {
        Ok(()) => println!("swish: first and second derivative agree with finite differences in 50 cases"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }

    let x = Tensor::from_vec(vec![0.5, -1.0, 2.0], 3, &Reference::device()).expect("three numbers");
    let wrong = |x: &[Tensor]| Ok(apply(Swish { beta: 1.0, wrong: true }, &[&x[0]])?.remove(0));
    match gradcheck(wrong, &[&x], Options::default()) {
        Err(mismatch) => println!("and with a wrong backward:\n{mismatch}"),
        Ok(_) => {
            eprintln!("a wrong gradient passed");
            std::process::exit(1);
        }
    }
}
