"""Architectures of torchvision, timm and transformers with random weights, and their export."""
import re
import warnings

TORCHVISION = """alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
    mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg16_bn vit_b_16 vit_b_32
    wide_resnet50_2"""
TIMM = """beit_base_patch16_224 botnet26t_256 cait_xxs24_224 caformer_s18 coat_lite_tiny coatnet_0_rw_224 convit_tiny
    convmixer_768_32 convnext_atto convnextv2_atto crossvit_9_240 cs3darknet_s csatv2 cspdarknet53 darknet53 davit_tiny
    deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 densenet121 dla34 dm_nfnet_f0 dpn68 eca_nfnet_l0 ecaresnet26t
    edgenext_small efficientformer_l1 efficientformerv2_s0 efficientnet_lite0 efficientvit_b0 efficientvit_m0
    ese_vovnet19b_dw eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100 focalnet_tiny_srf gcresnet50t gcvit_xxtiny
    gernet_s ghostnet_100 gmixer_24_224 gmlp_s16_224 halonet26t hardcorenas_a hiera_tiny_224 hrnet_w18_small
    inception_next_atto inception_resnet_v2 inception_v4 lambda_resnet26t lcnet_050 levit_128 mambaout_femto
    maxxvit_rmlp_nano_rw_256 mixer_s16_224 mixnet_s mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0
    mobilevit_s mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small nf_resnet50 pit_ti_224 poolformer_s12 pvt_v2_b0
    rdnet_tiny regnetx_002 regnety_002 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest14d
    resnet50d resnetv2_50 resnetv2_50x1_bit rexnet_100 selecsls42b sequencer2d_s seresnet50 shvit_s1 skresnet18
    starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 tf_efficientnet_b0
    tf_efficientnetv2_b0 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_svt_small visformer_tiny
    vit_base_patch16_clip_224 vit_base_patch16_siglip_224 vit_relpos_small_patch16_224 vit_small_patch14_dinov2
    vit_small_patch14_reg4_dinov2 vit_small_patch16_224 vit_small_patch16_dinov3 vit_tiny_patch16_224
    vit_tiny_r_s16_p8_224 volo_d1_224 xception41 xcit_nano_12_p16_224"""
TRANSFORMERS = {
    "beit": ("Beit", {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}),
    "convnext": ("ConvNext", {"depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 96, 128]}),
    "deit": ("DeiT", {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}),
    "dinov2": ("Dinov2", {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3}),
    "mobilevit": ("MobileViT", {}),
    "resnet": ("ResNet", {"depths": [1, 1, 1, 1], "hidden_sizes": [64, 128, 256, 512]}),
    "segformer": ("Segformer", {}),
    "swin": ("Swin", {"depths": [1, 2, 1, 1], "embed_dim": 48}),
    "vit": ("ViT", {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 384}),
}
NAMES = ([f"hf:{n}" for n in TRANSFORMERS] + [f"tv:{n}" for n in TORCHVISION.split()] + [f"tm:{n}" for n in TIMM.split()])


def make(name):
    """The network, and the side of its pictures."""
    import torch

    torch.manual_seed(0)
    family, name = name.split(":")
    if family == "tv":
        import torchvision

        extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **extra).eval(), 299 if name == "inception_v3" else 224
    if family == "tm":
        import timm

        network = timm.create_model(name, pretrained=False).eval()
        return network, network.pretrained_cfg["input_size"][1]
    import transformers

    kind, options = TRANSFORMERS[name]
    config = getattr(transformers, kind + "Config")(num_labels=10, **options)

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = getattr(transformers, kind + "ForImageClassification")(config)

        def forward(self, x):
            return self.network(x).logits

    return Logits().eval(), getattr(config, "image_size", 224) if kind != "MobileViT" else 256


def spread_weights(network):
    """Statistics and scales that differ from channel to channel, so that a mistake shows; layer scales that are not tiny."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean += 0.1 * torch.randn(module.running_mean.shape, generator=generator)
            module.running_var *= 0.75 + 0.5 * torch.rand(module.running_var.shape, generator=generator)
    for key, parameter in network.named_parameters():
        if not parameter.any():
            with torch.no_grad():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        elif parameter.ndim <= 1 or re.search("gamma|layer_scale|token|pos_embed|bias_table", key):
            noise = torch.randn(parameter.shape, generator=generator)
            with torch.no_grad():
                parameter += (0.1 if parameter.abs().max() < 0.5 else 0.05) * noise


def export(name, exporter, path):
    import torch

    torch.backends.mha.set_fastpath_enabled(False)  # one operator in eval(), which the older exporter cannot write
    network, side = make(name)
    spread_weights(network)
    x = torch.randn(2, 3, side, side)
    options = {"input_names": ["input"], "output_names": ["logits"]}
    if exporter == "old":
        options.update(dynamo=False, opset_version=17, dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
    else:
        options.update(dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False)
        if ":" in exporter:
            options["opset_version"] = int(exporter.split(":")[1])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(path), **options)
