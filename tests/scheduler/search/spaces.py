"""Small spaces that the tests of samplers draw from."""

from scheduler.search.constraints import parse_constraint
from scheduler.space import Parameter, SearchSpace
from t2f.spec import StagePlan

PLAN = StagePlan(resolutions=(4, 8, 16, 32), images=(10,) * 4, fade=(0.5,) * 4, batch=(4,) * 4)

RATE = Parameter(name="generator.learning_rate", distribution="log_uniform", low=1e-5, high=1e-1)
D_RATE = Parameter(name="discriminator.learning_rate", distribution="log_uniform", low=1e-5, high=1e-1)
LOSS = Parameter(name="loss.name", values=("wgan-gp", "logistic-r1", "hinge"))
GAMMA = Parameter(
    name="loss.r1_gamma",
    distribution="log_uniform",
    low=0.01,
    high=100,
    when={"loss.name": ("logistic-r1", "hinge")},
)
LAYERS = Parameter(name="text.layers", distribution="int_uniform", low=1, high=8)
LATE = Parameter(name="augment.strength", distribution="uniform", low=0.0, high=1.0, from_stage=16)


def space(*parameters: Parameter, seed: int = 0, constraints: tuple[str, ...] = ()) -> SearchSpace:
    return SearchSpace(
        data_key="d",
        seed=seed,
        preset="small",
        plan=PLAN,
        parameters=parameters,
        constraints=tuple(map(parse_constraint, constraints)),
    )
