"""A network as transformers' models are: its forward pass, loading and saving.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

import tempfile
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

import ccnet_core.config as core
from ccnet_core import card, weights_folder
from ccnet_core.card_picture import card_picture
from ccnet_core.checks import require
from ccnet_core.devices import find_device
from ccnet_core.losses import CrossEntropy, EdgeCrossEntropy, edge_truth
from ccnet_core.model import CCNet, CCNetOutput
from ccnet_core.tensors import FLOATING, require_floating
from ccnet_core.transformers.config import CCNetConfig
from ccnet_core.weights_folder import MAX_SHARD_SIZE, OpenFolder

IGNORE_INDEX = 255
"""The label of pixels that count in no loss."""

AUXILIARY_WEIGHT = 0.4
"""Of the auxiliary head's loss, as in the published training."""

UNUSED = {"_from_auto", "_from_pipeline", "low_cpu_mem_usage", "trust_remote_code", "use_safetensors", "weights_only"}
"""Options of transformers that change nothing: weights are safetensors, read one by one, and come without code."""


class CCNetForSemanticSegmentation(PreTrainedModel):  # type: ignore[misc]
    """A CCNet, `network`, that transformers can load, train and save.

    Its parts are those of `network` under the same names, so that its state dict is that of a weights folder.
    """

    network: CCNet
    config_class = CCNetConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True

    def __init__(self, config: CCNetConfig, network: CCNet | None = None) -> None:
        super().__init__(config)
        network = CCNet(config.network_config()) if network is None else network
        require(network.config.task == "segmentation", "transformers has no model of clips. Predict with ccnet-core")
        for name, part in network.named_children():
            self.add_module(name, part)
        self.__dict__["network"] = network  # not a child: its parts are
        self.post_init()

    @classmethod
    def from_network(cls, network: CCNet) -> Self:
        """Return `network` in this form; both share their tensors."""
        model = cls(CCNetConfig.from_network(network.config), network)
        model.train(network.training)
        return model

    def init_weights(self) -> None:
        """Do nothing: the layers of a CCNet choose their own initial values."""

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> SemanticSegmenterOutput | tuple[Tensor, ...]:
        """Segment `pixel_values` (B, 3, H, W), RGB, 0-255, uint8 or floating; they are normalised in here.

        `logits` are (B, K, h, w), before upsampling. With `labels` (B, H, W), integers, `loss` is the cross-entropy of
        the upsampled logits over pixels that are not labelled 255, and 0.4 times that of the auxiliary head if there
        is one; with a head for parsing it is that of both predictions, and of edges. `hidden_states` are the feature
        maps of the backbone's stages (B, C_i, h_i, w_i), if asked for. Raises ConfigError for `output_attentions`: see
        :func:`ccnet_core.attention_map`.
        """
        require(not output_attentions, "output_attentions: a CCNet keeps no weights. Use ccnet_core.attention_map")
        features = self.network.features(pixel_values)
        output = self.network.segment(features, auxiliary=labels is not None)
        loss = None if labels is None else self._loss(output, labels)
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = tuple(features) if asked else None
        returned = SemanticSegmenterOutput(loss=loss, logits=output.logits, hidden_states=states)
        as_output = self.config.return_dict if return_dict is None else return_dict
        return returned if as_output else returned.to_tuple()

    def _loss(self, output: CCNetOutput, labels: Tensor) -> Tensor:
        loss = self._cross_entropy(CrossEntropy, output.logits, labels)
        if output.auxiliary_logits is not None:
            weight = AUXILIARY_WEIGHT if output.edge_logits is None else 1.0
            loss = loss + weight * self._cross_entropy(CrossEntropy, output.auxiliary_logits, labels)
        if output.edge_logits is not None:
            edges = edge_truth(labels, IGNORE_INDEX)
            loss = loss + self._cross_entropy(EdgeCrossEntropy, output.edge_logits, edges)
        return loss

    def _cross_entropy(self, kind: type[CrossEntropy], logits: Tensor, labels: Tensor) -> Tensor:
        height, width = labels.shape[-2:]
        upsampled = self.network.resize_logits(logits.float(), (height, width))
        return cast(Tensor, kind(ignore_index=IGNORE_INDEX)(upsampled, labels))

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Any = None, every_n_layers: int = 1, offload: bool = False
    ) -> None:
        """Save training memory for time; see :meth:`ccnet_core.CCNet.checkpoint_activations`.

        `activation_checkpointing_kwargs` changes nothing. Raises ConfigError for the other options.
        """
        del activation_checkpointing_kwargs
        require(
            every_n_layers == 1 and not offload, "every_n_layers and offload: a CCNet keeps the input of each block"
        )
        self.network.checkpoint_activations(True)

    def activation_checkpointing_disable(self) -> None:
        """Keep all activations again."""
        self.network.checkpoint_activations(False)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: CCNetConfig | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a weights folder, or one of the Hub, as strictly as :meth:`ccnet_core.CCNet.from_pretrained`.

        What `config`, or an option of its name, says differently from the folder is obeyed if the tensors fit.
        Another number of classes needs `ignore_mismatched_sizes=True` and starts the classifiers anew. `dtype` is a
        floating one, by default torch's; "auto" is that of the file. `device_map` is one device. Raises ConfigError for
        an option that a CCNet cannot obey, and WeightsError for what is wrong with the folder.
        """
        folder = CCNet.find_folder(pretrained_model_name_or_path, revision, token, cache_dir, local_files_only)
        if config is None:
            config, options = CCNetConfig.from_pretrained(folder, return_unused_kwargs=True, **options)
        _require_known(options)
        with weights_folder.open_folder(folder, core.CCNetConfig) as stored:
            asked = config.network_config()
            fresh = asked.num_classes != stored.config.num_classes
            require(
                not fresh or ignore_mismatched_sizes,
                f"{pretrained_model_name_or_path}: its classifiers have {stored.config.num_classes} classes, "
                f"{asked.num_classes} were asked for. Start them anew with ignore_mismatched_sizes=True",
            )
            network = CCNet.load(
                asked,
                stored,
                fresh_classifiers=fresh,
                dtype=_dtype(dtype if dtype is not None else torch_dtype, stored),
                device=_device(device_map),
            )
        model = cls(config, network).eval()
        model.config.name_or_path = model.name_or_path = str(pretrained_model_name_or_path)
        return (model, _loading_info()) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        max_shard_size: int | str = MAX_SHARD_SIZE,
        push_to_hub: bool = False,
        **options: Any,
    ) -> None:
        """Write a weights folder, card included, that `CCNet.from_pretrained` loads.

        In a folder that holds other files too, as transformers' Trainer makes, they stay. `state_dict` are other
        tensors for the same network. Raises ConfigError for other options, WeightsError if it cannot be written.
        """
        require(not push_to_hub, "save_pretrained writes a folder. Use push_to_hub for the Hub")
        _require_known({name: value for name, value in options.items() if name not in ("safe_serialization", "token")})
        if not is_main_process:
            return
        folder = Path(save_directory)
        if not folder.is_dir() or all(weights_folder.is_part(path.name) for path in folder.iterdir()):
            self._write(folder, state_dict, max_shard_size)
            return
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            self._write(Path(beside) / "weights", state_dict, max_shard_size)
            weights_folder.renew_parts(folder, Path(beside) / "weights")

    def _write(self, folder: Path, state_dict: dict[str, Tensor] | None, max_shard_size: int | str) -> None:
        config = self.network.config = self.config.network_config()
        weights_folder.save_folder(
            folder,
            config,
            self.state_dict() if state_dict is None else state_dict,
            card=card.model_card(config, metrics={}, datasets=(), license=None, has_picture=False),
            picture=card_picture(self.network, None),
            max_shard_size=max_shard_size,
        )

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Make `repo_id` hold the weights folder; options as for :meth:`ccnet_core.CCNet.push_to_hub`."""
        self.network.config = self.config.network_config()
        return self.network.push_to_hub(repo_id, **options)


def _require_known(options: dict[str, Any]) -> None:
    """Refuse options that ask for something; those of the Auto classes that ask for nothing pass."""
    asked = {
        name: value for name, value in options.items() if name not in UNUSED and value not in (None, False, "", {})
    }
    require(not asked, f"a CCNet has no option {', '.join(f'{name}={value!r}' for name, value in asked.items())}")


def _dtype(asked: torch.dtype | str | None, stored: OpenFolder[core.CCNetConfig]) -> torch.dtype:
    if asked is None:
        return torch.get_default_dtype()
    if asked == "auto":
        return next(tensor.dtype for tensor in stored.tensors.values() if tensor.dtype in FLOATING)
    dtype = getattr(torch, asked, asked) if isinstance(asked, str) else asked
    require_floating(dtype)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _device(device_map: Any) -> torch.device:
    if isinstance(device_map, dict) and set(device_map) == {""}:
        device_map = device_map[""]
    require(
        not isinstance(device_map, dict) and device_map not in ("balanced", "balanced_low_0", "sequential"),
        f"device_map: a CCNet goes to one device as a whole, such as 'cuda:0'; got {device_map!r}",
    )
    if device_map is None:
        return torch.get_default_device()
    return find_device(f"cuda:{device_map}" if isinstance(device_map, int) else str(device_map))


def _loading_info() -> dict[str, list[str]]:
    """Return what transformers says of a load: nothing, as whatever it could name was an error."""
    return {key: [] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
