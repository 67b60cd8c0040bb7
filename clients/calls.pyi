# Written by `make stub` from the tasks' manifests: do not edit.

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from neurips16.clients.media.audio import Audio
from neurips16.clients.media.image_reading import ImageSource
from neurips16.clients.protocol.messages import ModelConfig, ModelStatistics, ModelStatus, SequenceStep, ServerMetadata
from neurips16.clients.tasks.classify_image.calls import ImageClass
from neurips16.clients.tasks.classify_sound.calls import SoundClassification
from neurips16.clients.tasks.detect.calls import Detection
from neurips16.clients.tasks.draw_states.calls import DrawnStates
from neurips16.clients.tasks.generate.calls import ImageCodes, PreferredInput
from neurips16.clients.tasks.linear_landscape.calls import LinearLandscape
from neurips16.clients.tasks.novelty.calls import Novelty
from neurips16.clients.tasks.play.calls import Policy
from neurips16.clients.tasks.rank_premises.calls import Method, PremiseRanking
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex
from neurips16.clients.tasks.rank_premises.statements import Statement

def method_signature(operation: Callable[..., Any]) -> inspect.Signature: ...

class TaskCalls:
    def choose_actions(
        self, observations: np.ndarray, goals: np.ndarray, *, timeout_s: float | None = None
    ) -> np.ndarray:
        """The action that promises most on the way to each goal, int64 [N]; observations and goals are integers [N].

        Raises:
            InvalidInputError: they are no whole numbers, or not equally many.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def choose_goals(self, observations: np.ndarray, *, timeout_s: float | None = None) -> np.ndarray:
        """The goal that promises most, int64 [N], for each of the observations, integers [N].

        Raises:
            InvalidInputError: the observations are no whole numbers, one for each row.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def classify_image(
        self, image: ImageSource, *, model: str, top_k: int | None = None, timeout_s: float | None = None
    ) -> list[ImageClass]:
        """What an image shows, the likeliest class first.

        Args:
            image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB.
            model: the classifier's name on the server.
            top_k: how many classes to return; all, if None.

        Raises:
            InvalidImageError: the image cannot be read.
            UnexpectedReplyError: the model does not classify images.
        """
        ...

    def classify_sound(
        self,
        audio: Audio,
        sample_rate_hz: int | None = None,
        *,
        top_k: int | None = None,
        steps: bool = False,
        timeout_s: float | None = None,
    ) -> SoundClassification:
        """What can be heard, the likeliest class first: a list of `SoundClass`.

        Args:
            audio: a file (wav, flac, ogg, mp3, …), or samples [T] or [T, channels]: floating-point numbers in [-1, 1], or
                whole numbers of 8, 16 or 32 bits. Any rate, any length from 0.1 s; long files are read and sent a window
                at a time.
            sample_rate_hz: of an array; a file says its own.
            top_k: how many classes to return; all, if None.
            steps: also say what is heard when, as ``timeline`` of the answer.

        Raises:
            InvalidInputError: the sound cannot be used.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def detect(
        self, image: ImageSource, *, min_score: float = 0.5, model: str = "rfcn", timeout_s: float | None = None
    ) -> list[Detection]:
        """The objects on an image, those with the highest scores first.

        Args:
            image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB, of any size. A file
                is turned upright as its EXIF orientation says, and the boxes are in pixels of the upright image.
            min_score: the threshold, a probability; the model itself reports nothing below its own.
            model: the detector's name on the server.

        Raises:
            InvalidImageError: the image cannot be read.
            UnexpectedReplyError: the model is not what `neurips16 export rfcn` makes.
        """
        ...

    def draw_states(
        self,
        couplings: np.ndarray,
        biases: np.ndarray,
        *,
        scan: str = "systematic",
        order: Sequence[int] | None = None,
        chains: int = 64,
        start: np.ndarray | None = None,
        burn_in: int = 100,
        sweeps: int = 1000,
        seed: int = 0,
        timeout_s: float | None = None,
    ) -> DrawnStates:
        """Draw from a model; the same seed draws the same on any server.

        Args:
            couplings: [V, V], symmetric with zeros on the diagonal. With ``biases`` [V, Q] entry (i, j) rewards equal
                states (a Potts model); with ``biases`` [V] it rewards that both variables are 1 (a binary model).
            biases: of each state [V, Q], or of being 1 [V].
            scan: systematic, random, shuffled or lazy.
            order: a permutation of the variables; None is 0 … V - 1.
            chains: how many run side by side, where there is no start.
            start: int [C, V]; None spreads the chains over the states.
            burn_in: sweeps of V updates that are not counted.
            sweeps: that are.
            seed: of everything random.

        Raises:
            InvalidInputError: an argument does not fit another, or is out of its range.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def embed(
        self, statements: Sequence[str | Statement], *, side: str = "premise", timeout_s: float | None = None
    ) -> np.ndarray:
        """Vectors of statements, float32 [len(statements), D]; what is longer than the model reads is cut off.

        Args:
            statements: ``fof(name, role, formula).`` or bare formulas; equal ones are encoded once.
            side: as what: "premise" or "conjecture".

        Raises:
            InvalidInputError: a statement cannot be used, or there is no such side.
        """
        ...

    def generate(
        self,
        model: str = "infogan",
        *,
        category: int | Sequence[int] | np.ndarray | None = None,
        continuous: Sequence[float] | np.ndarray | None = None,
        count: int | None = None,
        seed: int = 0,
        timeout_s: float | None = None,
    ) -> np.ndarray:
        """Images uint8 [count, H, W, C] of latent codes; the same seed gives the same images on any server.

        Args:
            model: an InfoGAN's name on the server.
            category: of each categorical code, for all images; or int [count, K], for each image its own; None takes the
                categories of the first code in turn.
            continuous: the continuous codes, for all images; or float [count, M]; None is zeros.
            count: how many images; None is 1, or as many as codes are given for.
            seed: image i has the seed ``seed + i``.

        Raises:
            InvalidInputError: a code, the count or the seed is not what the model takes; the text says what it takes.
        """
        ...

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Iterable[str] | None = None,
        version: str = "",
        sequence: SequenceStep | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """A model's outputs by name, as read-only arrays.

        Args:
            model: its name on the server.
            inputs: arrays by name, batch axis first, each with the model's dtype; lists of numbers become arrays of it.
            outputs: the names wanted; all, if None.
            version: of the model; the server's choice, if empty.
            sequence: for a model with state. Only a first step is tried again: a repeated later one would move the state
                twice. `neurips16.clients.protocol.sequence.Sequence` keeps count.

        Raises:
            InvalidInputError: an input has a dtype that the protocol lacks, or a list does not fit the model's dtype.
            InvalidRequestError: the model does not take these inputs; the text says what it takes.
        """
        ...

    def interpolate(self, first: Any, second: Any, *, steps: int = 8, timeout_s: float | None = None) -> np.ndarray:
        """From one image to another, uint8 [steps, steps, H, W, C]: the class along axis 0, the style along axis 1."""
        ...

    def linear_landscape(
        self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, *, timeout_s: float | None = None
    ) -> LinearLandscape:
        """Loss, gradient and global minimum of a chain of matrices.

        Args:
            weights: [d_k, d_{k-1}], the first layer's first.
            x: [m, d_0], a sample in each row.
            y: [m, d_K].

        Raises:
            InvalidInputError: the shapes do not fit, a number is infinite or none, or the chain is too long.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def load(self, model: str, *, timeout_s: float | None = None) -> None:
        """Load a model of the server's repository, or load it again where its files have changed. For admins.

        Args:
            model: its name.
        """
        ...

    def metadata(self, *, timeout_s: float | None = None) -> ServerMetadata:
        """The server's name, its version, and the extensions of the protocol that it has."""
        ...

    def model_config(self, name: str, *, timeout_s: float | None = None) -> ModelConfig:
        """The configuration of a loaded model: tensors, batch size and parameters."""
        ...

    def models(self, *, timeout_s: float | None = None) -> list[ModelStatus]:
        """Every model of the server's repository, loaded or not.

        Where that is for who has the admin token, and no header holds it, the loaded ones only.
        """
        ...

    def novelty(
        self, states: np.ndarray, *, bits: int = 16, centre: bool = True, timeout_s: float | None = None
    ) -> Novelty:
        """How new each state is, by counting states with its code.

        Args:
            states: numbers [N, D], such as embeddings, one state in each row.
            bits: of the code: more of them tell more states apart, so that more of them are new.
            centre: subtract the mean of each column first; else directions are compared as seen from zero.

        Raises:
            InvalidInputError: the states are no finite table, or too wide, or there are no such codes.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    def policy(self, system: str = "hdqn", *, timeout_s: float | None = None) -> Policy:
        """A policy of the models ``SYSTEM_meta`` and ``SYSTEM_controller`` of the server.

        Raises:
            InvalidInputError: of no such system is a policy known.
            UnexpectedReplyError: the server's models do not say what they play, or not the same.
        """
        ...

    def preferred_input(
        self,
        unit: int,
        *,
        steps: int = 200,
        seed: int = 0,
        step_size: float | None = None,
        model: str = "dgn_am",
        timeout_s: float | None = None,
    ) -> PreferredInput:
        """The image that a unit of the server's classifier prefers, by ascent in the code space of a generator.

        Args:
            unit: a class.
            steps: of the ascent.
            seed: of the code that it starts from.
            step_size: of the first step; None takes the model's own.
            model: its name on the server.
        """
        ...

    def rank_premises(
        self,
        conjecture: str | Statement,
        premises: Sequence[str | Statement] | PremiseIndex,
        *,
        top_k: int | None = None,
        for_proof: bool = False,
        method: Method = "hybrid",
        timeout_s: float | None = None,
    ) -> PremiseRanking:
        """The premises by how useful each looks for a proof of the conjecture, best first.

        Args:
            conjecture: ``fof(name, role, formula).`` or a bare formula.
            premises: the same, equal ones being encoded once; or an index, whose premises are encoded already.
            top_k: how many to return; all, if None.
            for_proof: leave out what a proof must not use: the conjecture itself (its name or its formula) and, in an
                index that holds a statement of its name, that statement and all after it, which may be proved with it.
            method: "network", what the model has learnt; "neighbours", what shares rare symbols with the conjecture or
                was needed, as far as the index knows, to prove what does; "hybrid", the sum of both.

        Emits `Encoded` while premises are encoded.

        Raises:
            InvalidInputError: a statement cannot be used, there is no premise, or the index is of another build.
        """
        ...

    def read_codes(self, images: Any, *, model: str = "infogan_encoder", timeout_s: float | None = None) -> ImageCodes:
        """The latent codes that an InfoGAN's recogniser reads from images uint8 [N, H, W, C], or from one image."""
        ...

    def require_server_ready(self, *, timeout_s: float | None = None) -> None:
        """Go on only if the server is ready.

        Raises:
            ServerUnavailableError: no server answers, or it is not ready.
        """
        ...

    def server_ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether a server answers and says that it and its models are ready.

        Raises:
            TLSRefusedError: a server listens, and one side refuses the other.
        """
        ...

    def statistics(self, model: str = "", *, timeout_s: float | None = None) -> list[ModelStatistics]:
        """What the server has counted: requests, failures and times of one loaded model, or of all.

        Args:
            model: its name; empty for all.
        """
        ...

    def swap_style(self, style: Any, content: Any, *, timeout_s: float | None = None) -> np.ndarray:
        """Images uint8 [N, H, W, C] of the class of ``content`` in the style of ``style``.

        Args:
            style: one image uint8 [H, W, C], or several; [H, W] will do for grey.
            content: likewise; one image goes with each of several others.
        """
        ...

    def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        """Unload a model; it stays in the repository. For admins.

        Args:
            model: its name.
        """
        ...

class AsyncTaskCalls:
    async def choose_actions(
        self, observations: np.ndarray, goals: np.ndarray, *, timeout_s: float | None = None
    ) -> np.ndarray:
        """The action that promises most on the way to each goal, int64 [N]; observations and goals are integers [N].

        Raises:
            InvalidInputError: they are no whole numbers, or not equally many.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def choose_goals(self, observations: np.ndarray, *, timeout_s: float | None = None) -> np.ndarray:
        """The goal that promises most, int64 [N], for each of the observations, integers [N].

        Raises:
            InvalidInputError: the observations are no whole numbers, one for each row.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def classify_image(
        self, image: ImageSource, *, model: str, top_k: int | None = None, timeout_s: float | None = None
    ) -> list[ImageClass]:
        """What an image shows, the likeliest class first.

        Args:
            image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB.
            model: the classifier's name on the server.
            top_k: how many classes to return; all, if None.

        Raises:
            InvalidImageError: the image cannot be read.
            UnexpectedReplyError: the model does not classify images.
        """
        ...

    async def classify_sound(
        self,
        audio: Audio,
        sample_rate_hz: int | None = None,
        *,
        top_k: int | None = None,
        steps: bool = False,
        timeout_s: float | None = None,
    ) -> SoundClassification:
        """What can be heard, the likeliest class first: a list of `SoundClass`.

        Args:
            audio: a file (wav, flac, ogg, mp3, …), or samples [T] or [T, channels]: floating-point numbers in [-1, 1], or
                whole numbers of 8, 16 or 32 bits. Any rate, any length from 0.1 s; long files are read and sent a window
                at a time.
            sample_rate_hz: of an array; a file says its own.
            top_k: how many classes to return; all, if None.
            steps: also say what is heard when, as ``timeline`` of the answer.

        Raises:
            InvalidInputError: the sound cannot be used.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def detect(
        self, image: ImageSource, *, min_score: float = 0.5, model: str = "rfcn", timeout_s: float | None = None
    ) -> list[Detection]:
        """The objects on an image, those with the highest scores first.

        Args:
            image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB, of any size. A file
                is turned upright as its EXIF orientation says, and the boxes are in pixels of the upright image.
            min_score: the threshold, a probability; the model itself reports nothing below its own.
            model: the detector's name on the server.

        Raises:
            InvalidImageError: the image cannot be read.
            UnexpectedReplyError: the model is not what `neurips16 export rfcn` makes.
        """
        ...

    async def draw_states(
        self,
        couplings: np.ndarray,
        biases: np.ndarray,
        *,
        scan: str = "systematic",
        order: Sequence[int] | None = None,
        chains: int = 64,
        start: np.ndarray | None = None,
        burn_in: int = 100,
        sweeps: int = 1000,
        seed: int = 0,
        timeout_s: float | None = None,
    ) -> DrawnStates:
        """Draw from a model; the same seed draws the same on any server.

        Args:
            couplings: [V, V], symmetric with zeros on the diagonal. With ``biases`` [V, Q] entry (i, j) rewards equal
                states (a Potts model); with ``biases`` [V] it rewards that both variables are 1 (a binary model).
            biases: of each state [V, Q], or of being 1 [V].
            scan: systematic, random, shuffled or lazy.
            order: a permutation of the variables; None is 0 … V - 1.
            chains: how many run side by side, where there is no start.
            start: int [C, V]; None spreads the chains over the states.
            burn_in: sweeps of V updates that are not counted.
            sweeps: that are.
            seed: of everything random.

        Raises:
            InvalidInputError: an argument does not fit another, or is out of its range.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def embed(
        self, statements: Sequence[str | Statement], *, side: str = "premise", timeout_s: float | None = None
    ) -> np.ndarray:
        """Vectors of statements, float32 [len(statements), D]; what is longer than the model reads is cut off.

        Args:
            statements: ``fof(name, role, formula).`` or bare formulas; equal ones are encoded once.
            side: as what: "premise" or "conjecture".

        Raises:
            InvalidInputError: a statement cannot be used, or there is no such side.
        """
        ...

    async def generate(
        self,
        model: str = "infogan",
        *,
        category: int | Sequence[int] | np.ndarray | None = None,
        continuous: Sequence[float] | np.ndarray | None = None,
        count: int | None = None,
        seed: int = 0,
        timeout_s: float | None = None,
    ) -> np.ndarray:
        """Images uint8 [count, H, W, C] of latent codes; the same seed gives the same images on any server.

        Args:
            model: an InfoGAN's name on the server.
            category: of each categorical code, for all images; or int [count, K], for each image its own; None takes the
                categories of the first code in turn.
            continuous: the continuous codes, for all images; or float [count, M]; None is zeros.
            count: how many images; None is 1, or as many as codes are given for.
            seed: image i has the seed ``seed + i``.

        Raises:
            InvalidInputError: a code, the count or the seed is not what the model takes; the text says what it takes.
        """
        ...

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Iterable[str] | None = None,
        version: str = "",
        sequence: SequenceStep | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """A model's outputs by name, as read-only arrays.

        Args:
            model: its name on the server.
            inputs: arrays by name, batch axis first, each with the model's dtype; lists of numbers become arrays of it.
            outputs: the names wanted; all, if None.
            version: of the model; the server's choice, if empty.
            sequence: for a model with state. Only a first step is tried again: a repeated later one would move the state
                twice. `neurips16.clients.protocol.sequence.Sequence` keeps count.

        Raises:
            InvalidInputError: an input has a dtype that the protocol lacks, or a list does not fit the model's dtype.
            InvalidRequestError: the model does not take these inputs; the text says what it takes.
        """
        ...

    async def interpolate(
        self, first: Any, second: Any, *, steps: int = 8, timeout_s: float | None = None
    ) -> np.ndarray:
        """From one image to another, uint8 [steps, steps, H, W, C]: the class along axis 0, the style along axis 1."""
        ...

    async def linear_landscape(
        self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, *, timeout_s: float | None = None
    ) -> LinearLandscape:
        """Loss, gradient and global minimum of a chain of matrices.

        Args:
            weights: [d_k, d_{k-1}], the first layer's first.
            x: [m, d_0], a sample in each row.
            y: [m, d_K].

        Raises:
            InvalidInputError: the shapes do not fit, a number is infinite or none, or the chain is too long.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def load(self, model: str, *, timeout_s: float | None = None) -> None:
        """Load a model of the server's repository, or load it again where its files have changed. For admins.

        Args:
            model: its name.
        """
        ...

    async def metadata(self, *, timeout_s: float | None = None) -> ServerMetadata:
        """The server's name, its version, and the extensions of the protocol that it has."""
        ...

    async def model_config(self, name: str, *, timeout_s: float | None = None) -> ModelConfig:
        """The configuration of a loaded model: tensors, batch size and parameters."""
        ...

    async def models(self, *, timeout_s: float | None = None) -> list[ModelStatus]:
        """Every model of the server's repository, loaded or not.

        Where that is for who has the admin token, and no header holds it, the loaded ones only.
        """
        ...

    async def novelty(
        self, states: np.ndarray, *, bits: int = 16, centre: bool = True, timeout_s: float | None = None
    ) -> Novelty:
        """How new each state is, by counting states with its code.

        Args:
            states: numbers [N, D], such as embeddings, one state in each row.
            bits: of the code: more of them tell more states apart, so that more of them are new.
            centre: subtract the mean of each column first; else directions are compared as seen from zero.

        Raises:
            InvalidInputError: the states are no finite table, or too wide, or there are no such codes.
            UnexpectedReplyError: the server's model is another.
        """
        ...

    async def policy(self, system: str = "hdqn", *, timeout_s: float | None = None) -> Policy:
        """A policy of the models ``SYSTEM_meta`` and ``SYSTEM_controller`` of the server.

        Raises:
            InvalidInputError: of no such system is a policy known.
            UnexpectedReplyError: the server's models do not say what they play, or not the same.
        """
        ...

    async def preferred_input(
        self,
        unit: int,
        *,
        steps: int = 200,
        seed: int = 0,
        step_size: float | None = None,
        model: str = "dgn_am",
        timeout_s: float | None = None,
    ) -> PreferredInput:
        """The image that a unit of the server's classifier prefers, by ascent in the code space of a generator.

        Args:
            unit: a class.
            steps: of the ascent.
            seed: of the code that it starts from.
            step_size: of the first step; None takes the model's own.
            model: its name on the server.
        """
        ...

    async def rank_premises(
        self,
        conjecture: str | Statement,
        premises: Sequence[str | Statement] | PremiseIndex,
        *,
        top_k: int | None = None,
        for_proof: bool = False,
        method: Method = "hybrid",
        timeout_s: float | None = None,
    ) -> PremiseRanking:
        """The premises by how useful each looks for a proof of the conjecture, best first.

        Args:
            conjecture: ``fof(name, role, formula).`` or a bare formula.
            premises: the same, equal ones being encoded once; or an index, whose premises are encoded already.
            top_k: how many to return; all, if None.
            for_proof: leave out what a proof must not use: the conjecture itself (its name or its formula) and, in an
                index that holds a statement of its name, that statement and all after it, which may be proved with it.
            method: "network", what the model has learnt; "neighbours", what shares rare symbols with the conjecture or
                was needed, as far as the index knows, to prove what does; "hybrid", the sum of both.

        Emits `Encoded` while premises are encoded.

        Raises:
            InvalidInputError: a statement cannot be used, there is no premise, or the index is of another build.
        """
        ...

    async def read_codes(
        self, images: Any, *, model: str = "infogan_encoder", timeout_s: float | None = None
    ) -> ImageCodes:
        """The latent codes that an InfoGAN's recogniser reads from images uint8 [N, H, W, C], or from one image."""
        ...

    async def require_server_ready(self, *, timeout_s: float | None = None) -> None:
        """Go on only if the server is ready.

        Raises:
            ServerUnavailableError: no server answers, or it is not ready.
        """
        ...

    async def server_ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether a server answers and says that it and its models are ready.

        Raises:
            TLSRefusedError: a server listens, and one side refuses the other.
        """
        ...

    async def statistics(self, model: str = "", *, timeout_s: float | None = None) -> list[ModelStatistics]:
        """What the server has counted: requests, failures and times of one loaded model, or of all.

        Args:
            model: its name; empty for all.
        """
        ...

    async def swap_style(self, style: Any, content: Any, *, timeout_s: float | None = None) -> np.ndarray:
        """Images uint8 [N, H, W, C] of the class of ``content`` in the style of ``style``.

        Args:
            style: one image uint8 [H, W, C], or several; [H, W] will do for grey.
            content: likewise; one image goes with each of several others.
        """
        ...

    async def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        """Unload a model; it stays in the repository. For admins.

        Args:
            model: its name.
        """
        ...
