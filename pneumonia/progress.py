"""How far the trainings are, for whoever follows them."""

from __future__ import annotations

from collections.abc import Callable

from .config import ModelConfig


def say_now(line: str) -> None:
    """Print without delay: whoever follows a log, or kills the training, sees every epoch that was done."""
    print(line, flush=True)


class Progress:
    """Says how far the trainings are, and how long the rest will take at the pace seen so far."""

    def __init__(self, members: list[tuple[ModelConfig, int]], say: Callable[[str], None] = say_now):
        self.say = say
        self.waiting = {(config.name, seed): self.cost(config) * config.epochs for config, seed in members}
        self.spent_seconds = self.done_cost = 0.0

    @staticmethod
    def cost(config: ModelConfig) -> float:
        """A rough price of one epoch, in arbitrary units: pixels, and the deep network soon shrinks its maps."""
        return config.image_size**2 * (1.0 if "basic" in config.builder else 0.7)

    def tell_epoch(self, config: ModelConfig, seed: int, history: list[dict]) -> None:
        row = history[-1]
        self.spent_seconds += row["wall_seconds"]
        self.done_cost += self.cost(config)
        self.waiting[(config.name, seed)] = self.cost(config) * (config.epochs - row["epoch"])
        left = sum(self.waiting.values()) * self.spent_seconds / self.done_cost
        in_all = f"about {left / 60:.0f} min" if left >= 60 else "less than a minute"
        self.say(
            f"{config.name} seed {seed}  epoch {row['epoch']:2d}/{config.epochs}  loss {row['loss']:.3f}  "
            f"validation: loss {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.3f}  "
            f"{row['wall_seconds']:.0f} s  {in_all} left in all"
        )
