//! Schedules against PyTorch's.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use common::{Case, Golden};
use gradus_optim::{
    Annealing, Chain, Cosine, CosineWarmRestarts, Exponential, Linear, MultiStep, OneCycle, Polynomial,
    Schedule, StepDecay,
};
use gradus_testkit::Reference;

fn check(op: &str, make: impl Fn(&Case<'_>) -> Box<dyn Schedule>) {
    for case in Golden::open("optim", &Reference::device()).of(op) {
        let schedule = make(&case);
        compare(&case, 0, |step| schedule.lr(step));
    }
}

fn compare(case: &Case<'_>, output: usize, ours: impl Fn(u64) -> f64) {
    let expected = case.tensor(&format!("output.{output}")).to_vec::<f64>().unwrap();
    assert_eq!(expected.len(), 30);
    for (step, theirs) in expected.into_iter().enumerate() {
        let ours = ours(step as u64);
        assert!((ours - theirs).abs() <= 1e-14, "{} at step {step}: {ours}, PyTorch has {theirs}", case.name);
    }
}

fn steps(case: &Case<'_>, name: &str) -> u64 {
    case.number(name) as u64
}

#[test]
fn decays_are_pytorchs() {
    check("step_lr", |case| {
        let (every, gamma) = (steps(case, "step_size"), case.number("gamma"));
        Box::new(StepDecay { lr: case.number("lr"), every, gamma })
    });
    check("multi_step_lr", |case| {
        let milestones = case.params()["milestones"].as_array().unwrap();
        let milestones = milestones.iter().map(|at| at.as_u64().unwrap()).collect();
        Box::new(MultiStep { lr: case.number("lr"), milestones, gamma: case.number("gamma") })
    });
    check("exponential_lr", |case| {
        Box::new(Exponential { lr: case.number("lr"), gamma: case.number("gamma") })
    });
    check("polynomial_lr", |case| {
        let (lr, steps) = (case.number("lr"), steps(case, "total_iters"));
        Box::new(Polynomial { lr, steps, power: case.number("power") })
    });
    check("linear_lr", |case| {
        Box::new(Linear {
            lr: case.number("lr"),
            start: case.number("start_factor"),
            end: case.number("end_factor"),
            steps: steps(case, "total_iters"),
        })
    });
    check("constant_lr", |case| {
        let (lr, factor, until) = (case.number("lr"), case.number("factor"), steps(case, "total_iters"));
        Box::new(move |step| if step < until { lr * factor } else { lr })
    });
}

#[test]
fn cosines_are_pytorchs() {
    check("cosine_annealing_lr", |case| {
        Box::new(Cosine { lr: case.number("lr"), min: case.number("eta_min"), steps: steps(case, "T_max") })
    });
    check("cosine_annealing_warm_restarts", |case| {
        Box::new(CosineWarmRestarts {
            lr: case.number("lr"),
            min: case.number("eta_min"),
            first: steps(case, "T_0"),
            factor: steps(case, "T_mult"),
        })
    });
    check("warm_up_then_cosine", |case| {
        let (lr, warm) = (case.number("lr"), steps(case, "warm_up_steps"));
        let up = Linear { lr, start: case.number("start_factor"), end: 1.0, steps: warm };
        let down = Cosine { lr, min: case.number("eta_min"), steps: steps(case, "T_max") };
        Box::new(Chain::new(up).then_at(warm, down))
    });
}

#[test]
fn one_cycle_is_pytorchs_in_rate_and_momentum() {
    for case in Golden::open("optim", &Reference::device()).of("one_cycle_lr") {
        let schedule = OneCycle {
            max_lr: case.number("max_lr"),
            steps: steps(&case, "total_steps"),
            rising: case.number("pct_start"),
            annealing: match case.params()["anneal_strategy"].as_str().unwrap() {
                "cos" => Annealing::Cosine,
                _ => Annealing::Linear,
            },
            div_factor: case.number("div_factor"),
            final_div_factor: case.number("final_div_factor"),
            three_phases: case.params()["three_phase"].as_bool().unwrap(),
            base_momentum: case.number("base_momentum"),
            max_momentum: case.number("max_momentum"),
        };
        compare(&case, 0, |step| schedule.lr(step));
        compare(&case, 1, |step| schedule.momentum(step));
        let last = schedule.lr(schedule.steps - 1);
        assert_eq!(schedule.lr(schedule.steps + 1000), last, "the rate stays where the cycle ends");
    }
}

/// Where the rate would have risen before step 0. Numbers of PyTorch's `OneCycleLR(max_lr=1.0)`.
#[test]
fn a_cycle_too_short_to_rise_begins_where_pytorchs_does() {
    let cases: [(u64, f64, bool, &[f64]); 5] = [
        (3, 0.3, false, &[0.9944154354509117, 0.46263710266697505, 4e-06]),
        (10, 0.0, false, &[0.9755283560345442, 0.904508879153485, 0.793893450575732]),
        (2, 0.3, true, &[0.023474616256983275, 4e-06]),
        (4, 0.2, true, &[0.03864957964362831, 0.02547471247546152, 0.007950512541687634, 4e-06]),
        (1, 0.3, false, &[4e-06]),
    ];
    for (steps, rising, three_phases, rates) in cases {
        let schedule = OneCycle { rising, three_phases, ..OneCycle::new(1.0, steps) };
        for (step, theirs) in rates.iter().enumerate() {
            let ours = schedule.lr(step as u64);
            assert!((ours - theirs).abs() <= 1e-14, "{ours} at {step} of {steps}, PyTorch has {theirs}");
        }
    }
}

#[test]
fn short_and_empty_schedules_have_finite_rates() {
    for steps in 0..4 {
        let all: [Box<dyn Schedule>; 6] = [
            Box::new(OneCycle::new(0.1, steps)),
            Box::new(Cosine::new(0.1, steps)),
            Box::new(CosineWarmRestarts { lr: 0.1, min: 0.0, first: steps, factor: steps }),
            Box::new(Linear::warm_up(0.1, steps)),
            Box::new(Polynomial { lr: 0.1, steps, power: 1.0 }),
            Box::new(StepDecay { lr: 0.1, every: steps, gamma: 0.5 }),
        ];
        for schedule in all {
            for step in 0..6 {
                let lr = schedule.lr(step);
                assert!(lr.is_finite() && (0.0..=0.1 + 1e-12).contains(&lr), "{lr} at {step} of {steps}");
            }
        }
    }
}
