"""States of robots, from closed loops in which the model's own answers move the robot.

No simulator with contacts is at hand: joints are what the robots' drives make of a target, and the trunk
sways with the gait as a walking robot's does.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.bench.zoo.model import Feeds, session_of

_POLICIES = "holosoma_inference/holosoma_inference/models/loco"
G1 = f"{_POLICIES}/g1_29dof/ppo_g1_29dof.onnx"
T1 = f"{_POLICIES}/t1_29dof/fastsac_t1_29dof.onnx"
_JOINT_SPEED = 2 * np.pi * 10  # rad/s: holosoma chooses kp = inertia * (2 pi 10 Hz)^2


def walk(folder: Path, file: str, ang_scale: float, vel_scale: float) -> list[list[Feeds]]:
    """A walking policy of holosoma: what it observes in 8 walks of 4 seconds, in the package's order.

    Args:
        folder: Folder of the packages.
        file: The policy, whose metadata hold the gains of the drives.
        ang_scale: Scale of the trunk's angular velocity in the observation.
        vel_scale: Scale of the joints' velocities in the observation.
    """
    session = session_of(folder / file)
    metadata = session.get_modelmeta().custom_metadata_map
    kp, kd = (np.array(json.loads(metadata[key])) for key in ("kp", "kd"))
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(8):
        command = rng.uniform(-1, 1, 3) * (rng.random() < 0.85)  # some walks stand
        phase = np.array([0.0, np.pi])
        q, speed, action = rng.normal(0, 0.05, 29), np.zeros(29), np.zeros(29)
        tilt = np.zeros(2)
        for _ in range(200):  # 50 Hz
            moves = np.linalg.norm(command) > 0.01
            phase = (
                (phase + 2 * np.pi / 50 + np.pi) % (2 * np.pi) - np.pi if moves else np.full(2, np.pi)
            )
            sway = moves * np.array([0.04, 0.03]) * np.array([np.sin(phase[0]), np.sin(2 * phase[0])])
            before, tilt = tilt, 0.8 * tilt + 0.2 * sway + rng.normal(0, 0.004, 2)
            turn = np.append((tilt - before) * 50, command[2] + rng.normal(0, 0.05))
            down = np.array([np.sin(tilt[1]), -np.sin(tilt[0]) * np.cos(tilt[1]), -np.cos(tilt).prod()])
            trunk = (turn * ang_scale, command[2:], command[:2], np.cos(phase))
            seen = np.concatenate((action, *trunk, q, speed * vel_scale, down, np.sin(phase)))
            feeds = {"actor_obs": seen[None].astype(np.float32)}
            sequences.append([feeds])
            action = session.run(None, feeds)[0][0].astype(np.float64)
            for _ in range(20):  # 1 kHz
                force = kp * (0.25 * action - q) - kd * speed
                speed = speed + 0.001 * force * _JOINT_SPEED**2 / kp
                q = q + 0.001 * speed
    return sequences


def walk_g1(folder: Path) -> list[list[Feeds]]:
    """Unitree's G1 with the policy that PPO found."""
    return walk(folder, G1, 0.25, 0.05)


def walk_t1(folder: Path) -> list[list[Feeds]]:
    """Booster's T1 with the policy that FastSAC found."""
    return walk(folder, T1, 1.0, 0.1)


def head_poses(n_moves: int) -> np.ndarray:
    """Return poses along minimum-jerk moves of a head: x, y, z in m, roll, pitch, yaw in rad."""
    rng = np.random.default_rng(0)
    reach = np.array([0.015, 0.015, 0.02, 0.3, 0.3, 0.6])
    goals = rng.uniform(-1, 1, (n_moves + 1, 6)) * reach
    time = np.linspace(0, 1, 16, endpoint=False)[:, None]
    share = time**3 * (10 - 15 * time + 6 * time**2)  # Flash and Hogan 1985
    return np.concatenate([a + share * (b - a) for a, b in pairwise(goals)])


def head_goals(folder: Path) -> list[list[Feeds]]:
    """Reachy Mini's inverse kinematics: poses of the head."""
    del folder  # poses need no package
    return [[{"input": pose[None].astype(np.float32)}] for pose in head_poses(32)]


def head_joints(folder: Path) -> list[list[Feeds]]:
    """Reachy Mini's forward kinematics: the joints of those poses."""
    session = session_of(folder / "reachy_mini/reachy_mini/assets/models/iknetwork.onnx")
    return [[{"input": session.run(None, feeds)[0]}] for (feeds,) in head_goals(folder)]
