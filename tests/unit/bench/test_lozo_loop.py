"""The baseline does what its authors' loop does: its slope, its restore, its learning, checked on a tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.forward import Variant
from bench.lozo_loop import LORA_TARGETS, LozoLoop, MezoLoop
from zo_runtime.data.examples import Example

# Prompts of several lengths, so that padding and masking count; two one-token candidates.
BATCH = [
    Example((5, 6, 7), ((1,), (2,)), 0),
    Example((8, 9, 10, 11, 12), ((1,), (2,)), 1),
    Example((13, 14), ((1,), (2,)), 1),
    Example((3, 4, 5, 6, 7, 8, 9), ((1,), (2,)), 0),
]
LONG_CANDIDATES = [Example((5, 6, 7), ((1, 4), (2,)), 0), Example((8, 9), ((1, 4), (2,)), 1)]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """The loop sets the whole process's threads; other tests keep theirs."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    path = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def plain_loss(weights: dict[str, torch.Tensor], model_dir: Path, batch: list[Example]) -> float:
    """Each example and candidate alone, without padding, in float64."""
    model = LlamaForCausalLM.from_pretrained(model_dir, dtype=torch.float64)
    model.load_state_dict({name: value.double() for name, value in weights.items()}, strict=False)
    total = 0.0
    for example in batch:
        scores = []
        for candidate in example.candidates:
            tokens = torch.tensor([[*example.prompt, *candidate]])
            with torch.no_grad():
                log_probabilities = model(tokens).logits[0, :-1].log_softmax(-1)
            chosen = log_probabilities[torch.arange(tokens.shape[1] - 1), tokens[0, 1:]]
            scores.append(chosen[-len(candidate) :].mean())
        total -= torch.stack(scores).log_softmax(0)[example.target].item()
    return total / len(batch)


def directions(loop: LozoLoop | MezoLoop) -> dict[str, torch.Tensor]:
    """The last step's directions, drawn again."""
    torch.manual_seed(loop._step_seed)
    return {name: loop._direction(name, matrix) for name, matrix in loop.matrices.items()}


def weights_of(loop: LozoLoop | MezoLoop) -> dict[str, torch.Tensor]:
    return {name: matrix.detach().clone() for name, matrix in loop.matrices.items()}


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("loop_class", [LozoLoop, MezoLoop])
def test_projected_gradient_and_update_equal_a_plain_computation(
    model_dir: Path, loop_class: type[LozoLoop] | type[MezoLoop], variant: Variant
) -> None:
    loop = loop_class(
        model_dir, epsilon=0.01, learning_rate=0.01, seed=3, variant=variant, dtype=torch.float32, threads=1
    )
    before = weights_of(loop)
    result = loop.step(BATCH)
    drawn = directions(loop)

    def loss_at(scale: float) -> float:
        return plain_loss({n: before[n].double() + scale * drawn[n].double() for n in before}, model_dir, BATCH)

    plus, minus = loss_at(+0.01), loss_at(-0.01)
    # float32 losses of order 1 carry about 1e-6; divided by 2 eps = 0.02 that is 5e-5 of slope, with room for 10.
    assert result.loss_plus == pytest.approx(plus, abs=1e-5)
    assert result.loss_minus == pytest.approx(minus, abs=1e-5)
    assert result.projected_gradient == pytest.approx((plus - minus) / 0.02, abs=5e-4)
    assert abs(result.projected_gradient) > 0.01
    for name, matrix in loop.matrices.items():
        expected = before[name] - 0.01 * result.projected_gradient * drawn[name]
        torch.testing.assert_close(matrix.detach(), expected, atol=1e-5, rtol=0)


def test_candidates_of_several_tokens_count_by_their_mean(model_dir: Path) -> None:
    loop = LozoLoop(model_dir, variant=Variant.CANDIDATES, dtype=torch.float32, threads=1)
    assert loop.loss(LONG_CANDIDATES) == pytest.approx(
        plain_loss(weights_of(loop), model_dir, LONG_CANDIDATES), abs=1e-5
    )


def test_one_sequence_refuses_candidates_of_several_tokens(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="one token each"):
        LozoLoop(model_dir, dtype=torch.float32, threads=1).loss(LONG_CANDIDATES)


@pytest.mark.parametrize("variant", [Variant.ONE_SEQUENCE, Variant.TUNED])
def test_restoring_leaves_the_weights_within_bf16_rounding(model_dir: Path, variant: Variant) -> None:
    epsilon = 2**-10
    loop = LozoLoop(model_dir, epsilon=epsilon, learning_rate=0.0, variant=variant, threads=1)
    before = weights_of(loop)
    loop.step(BATCH)
    drawn = directions(loop)
    for name, matrix in loop.matrices.items():
        # Three additions, each rounded by at most half a unit (2^-8 of the value) of what it yields, and the
        # direction itself rounded up to three times on its way.
        bound = (before[name].abs() + epsilon * drawn[name].abs()).float() * 2**-8 * 6
        assert torch.all((matrix - before[name]).float().abs() <= bound), name


def test_v_is_kept_for_the_interval_and_u_is_fresh(model_dir: Path) -> None:
    loop = LozoLoop(model_dir, interval=2, dtype=torch.float32, threads=1)
    kept, seeds = [], []
    for _ in range(3):
        loop.step(BATCH)
        kept.append(next(iter(loop._v.values())))
        seeds.append(loop._step_seed)
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])
    assert len(set(seeds)) == 3


def test_only_the_targets_are_trained(model_dir: Path) -> None:
    loop = LozoLoop(model_dir, dtype=torch.float32, threads=1)
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    loop.step(BATCH)
    changed = {n for n, value in loop.model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == set(loop.matrices)
    assert len(changed) == 2 * len(LORA_TARGETS)
    with pytest.raises(ValueError, match="no matrix"):
        LozoLoop(model_dir, targets=("qkv",), dtype=torch.float32, threads=1)


def test_the_same_seed_gives_the_same_steps(model_dir: Path) -> None:
    runs = []
    for seed in (1, 1, 2):
        loop = LozoLoop(model_dir, seed=seed, dtype=torch.float32, threads=1)
        runs.append([loop.step(BATCH).projected_gradient for _ in range(2)])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("variant", [Variant.ONE_SEQUENCE, Variant.TUNED])
def test_the_loop_learns_a_toy_task(model_dir: Path, variant: Variant) -> None:
    loop = LozoLoop(model_dir, interval=10, learning_rate=2e-3, variant=variant, dtype=torch.float32, threads=1)
    before = loop.loss(BATCH)
    for _ in range(150):
        loop.step(BATCH)
    assert loop.loss(BATCH) < 0.5 * before


def test_a_process_that_cannot_set_its_threads_is_refused(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    with pytest.raises(RuntimeError, match="use a fresh process"):
        LozoLoop(model_dir, threads=torch.get_num_threads() + 1)
