"""Draws faces whose landmarks are known: heads of random pose, size and light, on noise."""

import numpy as np

# Outer corner of the left and of the right eye, tip of the nose, left and right corner of the mouth:
# places on a head of radius 1 that looks straight ahead, y downwards.
LANDMARKS = np.array([(-0.52, -0.25), (0.52, -0.25), (0.0, 0.18), (-0.3, 0.5), (0.3, 0.5)])
EYES = (0, 1)


def draw_faces(count: int, seed: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draws faces.

    Args:
        count: How many.
        seed: All that is random follows from it.
        side: Height and width of an image in pixels.

    Returns:
        Images `[count, side, side, 1]` from 0 to 1 and their landmarks `[count, 5, 2]`, x and y in
        parts of the image; both float32.
    """
    rng = np.random.default_rng(seed)
    turn = rng.uniform(-0.5, 0.5, count)
    yaw = rng.uniform(-0.5, 0.5, count)
    radius = rng.uniform(0.24, 0.36, count)
    middle = rng.uniform(0.4, 0.6, (count, 2))
    smile = rng.uniform(-0.12, 0.12, count)
    points = np.repeat(LANDMARKS[None], count, axis=0)
    points[:, 3:, 1] -= smile[:, None]
    seen = _turned_aside(points, yaw)
    rotation = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1).reshape(-1, 2, 2)
    placed = seen @ rotation.transpose(0, 2, 1) * radius[:, None, None] + middle[:, None]

    grid = (np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2) + 0.5) / side
    on_head = (grid[None] - middle[:, None]) @ rotation / radius[:, None, None]
    images = _painted(on_head, seen, radius * side, rng)
    light = (grid[None] - 0.5) @ rng.uniform(-0.6, 0.6, (count, 2, 1)) + 1
    images = images * light[..., 0] + rng.normal(0, 0.04, images.shape)
    return (
        np.clip(images, 0, 1).reshape(count, side, side, 1).astype("float32"),
        placed.astype("float32"),
    )


def _turned_aside(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Points on the front of a ball that turns, seen from ahead; the nose stands out of it."""
    x, y = points[..., 0], points[..., 1]
    depth = np.sqrt(1 - np.minimum(x**2 + y**2, 0.9)) + np.array([0, 0, 0.25, 0, 0])
    turned = x * np.cos(yaw)[:, None] + (depth - 0.6) * np.sin(yaw)[:, None]
    return np.stack([turned, y], -1)


def _painted(
    on_head: np.ndarray, seen: np.ndarray, sharpness: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Brightness at places `[N, P, 2]` on the head: background, skin, eyes, nose, mouth."""
    count = len(on_head)

    def ellipse(center: np.ndarray, wide: np.ndarray | float, high: float) -> np.ndarray:
        axes = np.stack(np.broadcast_arrays(wide, high * np.ones(count)), -1)
        away = np.linalg.norm((on_head - center[:, None]) / axes[:, None], axis=-1)
        edge = (sharpness * np.minimum(*axes.T))[:, None]
        return 1 / (1 + np.exp(np.clip(2 * edge * (away - 1), -30, 30)))

    def tone(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (count, 1))

    left, right, nose, *mouth = seen.transpose(1, 0, 2)
    inner = 0.62
    image = np.broadcast_to(tone(0.0, 0.5), on_head.shape[:2])
    parts = [(ellipse(np.zeros((count, 2)), 0.85, 1.05), tone(0.6, 0.95))]
    for corner, other in ((left, right), (right, left)):
        center = corner + (other - corner) * (1 - inner) / 2
        half = np.abs(other - corner)[:, 0] * (1 - inner) / 2
        parts.append((ellipse(center, half, 0.11), tone(0.0, 0.3)))
    parts.append((ellipse(nose, 0.1, 0.14), tone(0.3, 0.5)))
    lips = ellipse((mouth[0] + mouth[1]) / 2, np.abs(mouth[1] - mouth[0])[:, 0] / 2, 0.08)
    parts.append((lips, tone(0.0, 0.4)))
    for mask, brightness in parts:
        image = image * (1 - mask) + brightness * mask
    return image
