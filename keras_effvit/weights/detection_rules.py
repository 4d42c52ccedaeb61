"""The names of detectors' heads, as OpenMMLab's code calls them; EfficientViT-Det has none but our own paths."""

_ONE_STAGE = {
    "bbox_head_class_conv{i}": "bbox_head.cls_convs.{i-1}.conv",
    "bbox_head_box_conv{i}": "bbox_head.reg_convs.{i-1}.conv",
    "bbox_head_class": "bbox_head.retina_cls",
    "bbox_head_box": "bbox_head.retina_reg",
}
_TWO_STAGES = {
    "rpn_head_conv": "rpn_head.rpn_conv",
    "rpn_head_object": "rpn_head.rpn_cls",
    "rpn_head_box": "rpn_head.rpn_reg",
    "box_head_fc{i}": "roi_head.bbox_head.shared_fcs.{i-1}",
    "box_head_class": "roi_head.bbox_head.fc_cls",
    "box_head_box": "roi_head.bbox_head.fc_reg",
    "mask_head_conv{i}": "roi_head.mask_head.convs.{i-1}.conv",
    "mask_head_up": "roi_head.mask_head.upsample",
    "mask_head_class": "roi_head.mask_head.conv_logits",
    "semantic_head_level{l}_conv{i}": "semantic_head.conv_upsample_layers.{l-1}.conv.{i-1}.conv",
    "semantic_head_level{l}_conv{i}_norm": "semantic_head.conv_upsample_layers.{l-1}.conv.{i-1}.gn",
    "semantic_head_class": "semantic_head.conv_logits",
}
_YOLOX = {
    path: path.replace("/", ".")
    for path in (
        *(f"det_p{{l}}_stem/{unit}" for unit in ("conv", "norm")),
        *(
            f"det_p{{l}}_{branch}_block{{i}}/{conv}/{unit}"
            for branch in ("class", "box")
            for conv in ("expand", "depth", "point")
            for unit in ("conv", "norm")
        ),
        *(f"det_p{{l}}_{part}_prediction" for part in ("class", "box", "object")),
    )
}
#: Our paths -> checkpoint names.
DETECTION = {**_ONE_STAGE, **_TWO_STAGES, **_YOLOX}
#: Layers with an output for every class.
DETECTION_CLASSIFIERS = (
    *("bbox_head_class", "box_head_class", "box_head_box", "mask_head_class", "semantic_head_class"),
    *(f"det_p{level}_class_prediction" for level in range(2, 8)),
)
