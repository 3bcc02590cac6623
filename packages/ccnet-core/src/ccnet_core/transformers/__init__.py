"""The door to the library transformers: after `import ccnet_core.transformers` its Auto classes load weights folders.

`AutoModelForSemanticSegmentation`, `AutoImageProcessor`, `AutoConfig` and `pipeline("image-segmentation")` then take a
weights folder or a repository of the Hub. Needs the extra `transformers`.
"""

try:
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
except ImportError as error:
    raise ImportError(
        "ccnet_core.transformers needs a package that is not installed (transformers): "
        'python -m pip install "ccnet-core[transformers]"'
    ) from error

from ccnet_core.transformers.config import CCNetConfig
from ccnet_core.transformers.modeling import CCNetForSemanticSegmentation
from ccnet_core.transformers.processor import CCNetImageProcessor

__all__ = ["CCNetConfig", "CCNetForSemanticSegmentation", "CCNetImageProcessor"]

AutoConfig.register(CCNetConfig.model_type, CCNetConfig)
AutoModelForSemanticSegmentation.register(CCNetConfig, CCNetForSemanticSegmentation)
AutoImageProcessor.register(CCNetConfig, image_processor_classes={"pil": CCNetImageProcessor})
# The names of which the pipeline says that it supports them; it works without, after a message that it does not.
MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[CCNetConfig.model_type] = CCNetForSemanticSegmentation.__name__
