//! The keys of a rotary encoder's `config.json` to its sizes.

use serde_json::Value;

use crate::arch::rotary::config::{RotaryConfig, RotaryKin};
use crate::blocks::rotary::RotaryScaling;
use crate::config::Activation;
use crate::error::ModelError;
use crate::folder::keys::Keys;

/// The base and the scaling of the angles of `layers` (`full_attention`, `sliding_attention`): of
/// transformers 5's `rope_parameters`, or else of `rope_scaling`, and of the older key `older` where they
/// name no base.
fn rotary(
    keys: &Keys<'_>,
    layers: Option<&'static str>,
    older: &'static str,
    absent: f64,
) -> Result<(f64, Option<RotaryScaling>), ModelError> {
    let scaling = keys.inner("rope_scaling")?.filter(|scaling| !scaling.is_empty());
    let mut parameters = keys.inner("rope_parameters")?.filter(|parameters| !parameters.is_empty());
    if scaling.is_some() && parameters.is_some() && scaling != parameters {
        // Of the two some classes take the one, some join them.
        return Err(keys.refuse("rope_scaling", "none beside `rope_parameters`"));
    }
    if let (Some(all), Some(layers)) = (&parameters, layers) {
        parameters = all.inner(layers)?.or_else(|| all.has("rope_type").then(|| all.clone()));
    }
    let Some(parameters) = parameters.or(scaling) else {
        return Ok((keys.number(older)?.unwrap_or(absent), None));
    };
    let base = parameters.number("rope_theta")?.or(keys.number(older)?);
    Ok((base.unwrap_or(absent), scaling_of(&parameters)?))
}

fn scaling_of(keys: &Keys<'_>) -> Result<Option<RotaryScaling>, ModelError> {
    if keys.number("partial_rotary_factor")?.is_some_and(|share| share != 1.0) {
        return Err(keys.refuse("partial_rotary_factor", "1: the whole head turns"));
    }
    // Of GTE's own code: another scaling.
    if keys.has("mixed_b") {
        return Err(keys.refuse("mixed_b", "none"));
    }
    let key = if keys.has("rope_type") { "rope_type" } else { "type" };
    let number = |key, expected| keys.number(key)?.ok_or_else(|| keys.refuse(key, expected));
    let factor = || number("factor", "a number");
    Ok(match keys.text(key)? {
        None | Some("default") => None,
        Some("linear") => Some(RotaryScaling::Linear { factor: factor()? }),
        Some("ntk") => Some(RotaryScaling::Ntk { factor: factor()? }),
        Some("llama3") => Some(RotaryScaling::Llama3 {
            factor: factor()?,
            low_freq_factor: number("low_freq_factor", "a number")?,
            high_freq_factor: number("high_freq_factor", "a number")?,
            original_max_position_embeddings: keys
                .count("original_max_position_embeddings")?
                .ok_or_else(|| keys.refuse("original_max_position_embeddings", "a number"))?,
        }),
        Some(_) => return Err(keys.refuse(key, "default, linear, ntk or llama3")),
    })
}

/// Every how many of `layers` one is global, and which is the first; 0 and 0 where none is, 1 and 0
/// where all are. From `layer_types`, or else as `absent` says.
fn pattern(
    keys: &Keys<'_>,
    layers: usize,
    absent: (usize, usize),
) -> Result<(usize, usize), ModelError> {
    let Some(types) = keys.list("layer_types")? else { return Ok(absent) };
    let expected = "full_attention in every nth layer, sliding_attention else";
    let global = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Some(true),
        Some("sliding_attention") => Some(false),
        _ => None,
    };
    let global: Option<Vec<bool>> = types.iter().map(global).collect();
    let global = global.filter(|global| global.len() == layers);
    let global = global.ok_or_else(|| keys.refuse("layer_types", expected))?;
    let places: Vec<usize> = (0..layers).filter(|&layer| global[layer]).collect();
    let (every, first) = match places[..] {
        [] => (0, 0),
        // As many as there are: no second one follows.
        [only] => (if absent.1 == only { absent.0 } else { layers.max(only + 1) }, only),
        [first, second, ..] => (second - first, first),
    };
    let is_regular =
        (0..layers).all(|layer| global[layer] == (every > 0 && layer % every == first));
    if first >= every.max(1) || !is_regular {
        return Err(keys.refuse("layer_types", expected));
    }
    Ok((every, first))
}

/// The configuration; absent keys have the defaults of transformers' configuration classes.
pub(crate) fn read(keys: &Keys<'_>, kin: RotaryKin) -> Result<RotaryConfig, ModelError> {
    let config = match kin {
        RotaryKin::ModernBert => read_modern_bert(keys)?,
        RotaryKin::NomicBert => read_nomic_bert(keys)?,
        RotaryKin::Gte | RotaryKin::New => read_gte(keys, kin)?,
        RotaryKin::Gemma3 => read_gemma(keys)?,
        _ => read_llama(keys, kin)?,
    };
    let is_ntk = matches!(config.rotary_scaling, Some(RotaryScaling::Ntk { .. }));
    if is_ntk && !matches!(kin, RotaryKin::Gte | RotaryKin::New) {
        // GTE's formula, which no other knows.
        return Err(keys.refuse("rope_scaling", "default, linear or llama3"));
    }
    Ok(config)
}

fn read_modern_bert(keys: &Keys<'_>) -> Result<RotaryConfig, ModelError> {
    let default = RotaryConfig::default();
    let hidden = keys.count("hidden_size")?.unwrap_or(768);
    let heads = keys.count("num_attention_heads")?.unwrap_or(12);
    let layers = keys.count("num_hidden_layers")?.unwrap_or(22);
    let every = keys.count("global_attn_every_n_layers")?.unwrap_or(3);
    let (global_every, first_global) = pattern(keys, layers, (every, 0))?;
    let (rotary_base, rotary_scaling) =
        rotary(keys, Some("full_attention"), "global_rope_theta", 160_000.0)?;
    let (local_rotary_base, local_scaling) =
        rotary(keys, Some("sliding_attention"), "local_rope_theta", 10_000.0)?;
    if rotary_scaling.or(local_scaling).is_some() {
        return Err(keys.refuse("rope_parameters", "no scaling"));
    }
    let [mlp_dropout, embedding_dropout] =
        [keys.number("mlp_dropout")?, keys.number("embedding_dropout")?]
            .map(|it| it.unwrap_or(0.0));
    if mlp_dropout != embedding_dropout {
        return Err(keys.refuse("embedding_dropout", "what `mlp_dropout` is"));
    }
    let flag = |key| Ok::<_, ModelError>(keys.flag(key)?.unwrap_or(false));
    let (attention_bias, mlp_bias) = (flag("attention_bias")?, flag("mlp_bias")?);
    Ok(RotaryConfig {
        kin: RotaryKin::ModernBert,
        vocab_size: keys.count("vocab_size")?.unwrap_or(50_368),
        hidden,
        layers,
        heads,
        kv_heads: heads,
        head_dim: hidden / heads.max(1),
        intermediate: keys.count("intermediate_size")?.unwrap_or(1152),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(8192),
        activation: keys.activation("hidden_activation", Activation::Gelu)?,
        norm_eps: keys.number("norm_eps")?.unwrap_or(1e-5),
        norm_bias: flag("norm_bias")?,
        qkv_bias: attention_bias,
        attention_output_bias: attention_bias,
        inner_bias: mlp_bias,
        outer_bias: mlp_bias,
        // On either side that many tokens, or half of the other key's.
        window: match keys.count("sliding_window")? {
            None => Some(keys.count("local_attention")?.unwrap_or(128) / 2),
            window => window,
        },
        global_every,
        first_global,
        rotary_base,
        local_rotary_base,
        dropout: mlp_dropout,
        attention_dropout: keys.number("attention_dropout")?.unwrap_or(0.0),
        ..default
    })
}

/// What families without local layers have in common.
fn global(kin: RotaryKin) -> RotaryConfig {
    RotaryConfig { kin, window: None, global_every: 1, ..RotaryConfig::default() }
}

fn read_nomic_bert(keys: &Keys<'_>) -> Result<RotaryConfig, ModelError> {
    let kin = RotaryKin::NomicBert;
    for key in ["prenorm", "use_rms_norm", "parallel_block", "rotary_emb_interleaved", "causal"] {
        keys.never(key)?;
    }
    if keys.count("moe_every_n_layers")?.unwrap_or(0) > 0
        && keys.count("num_experts")?.unwrap_or(0) > 0
    {
        return Err(keys.refuse("moe_every_n_layers", "0: no experts"));
    }
    if keys.has("rotary_emb_scale_base") {
        return Err(keys.refuse("rotary_emb_scale_base", "none"));
    }
    if keys.number("rotary_emb_fraction")?.is_some_and(|share| share != 1.0) {
        return Err(keys.refuse("rotary_emb_fraction", "1: the whole head turns"));
    }
    let count = |new, old, absent| {
        Ok::<_, ModelError>(keys.count(new)?.or(keys.count(old)?).unwrap_or(absent))
    };
    let number = |new, old| Ok::<_, ModelError>(keys.number(new)?.or(keys.number(old)?));
    let hidden = count("hidden_size", "n_embd", 768)?;
    let heads = count("num_attention_heads", "n_head", 12)?;
    // The older files name the gated block, the newer ones its gate.
    let activation = match keys.text("activation_function")? {
        None => keys.activation("hidden_act", Activation::Silu)?,
        Some("swiglu") => Activation::Silu,
        Some("geglu") => Activation::Gelu,
        Some(_) => return Err(keys.refuse("activation_function", "swiglu or geglu")),
    };
    let (rotary_base, rotary_scaling) = rotary(keys, None, "rotary_emb_base", 1000.0)?;
    if rotary_scaling.is_some() {
        return Err(keys.refuse("rope_parameters", "no scaling"));
    }
    // Past this length a file with a factor turns by other angles.
    let stretches = keys.has("rotary_scaling_factor");
    let positions = keys.count("max_position_embeddings")?.or(keys.count("n_positions")?);
    let longest = positions.unwrap_or(2048);
    let flag = |key| Ok::<_, ModelError>(keys.flag(key)?.unwrap_or(false));
    let inner_bias = flag("mlp_fc1_bias")?;
    Ok(RotaryConfig {
        vocab_size: keys.count("vocab_size")?.unwrap_or(30_528),
        hidden,
        layers: count("num_hidden_layers", "n_layer", 12)?,
        heads,
        kv_heads: heads,
        head_dim: keys.count("head_dim")?.unwrap_or(hidden / heads.max(1)),
        intermediate: count("intermediate_size", "n_inner", 3072)?,
        max_positions: if stretches { longest.min(2048) } else { longest },
        is_bounded: stretches,
        token_types: keys.count("type_vocab_size")?.unwrap_or(2),
        activation,
        norm_eps: number("layer_norm_eps", "layer_norm_epsilon")?.unwrap_or(1e-12),
        norm_bias: true,
        qkv_bias: flag("qkv_proj_bias")?,
        attention_output_bias: flag("qkv_proj_bias")?,
        inner_bias,
        outer_bias: flag("mlp_fc2_bias")?,
        rotary_base,
        dropout: number("hidden_dropout_prob", "resid_pdrop")?.unwrap_or(0.0),
        attention_dropout: number("attention_probs_dropout_prob", "attn_pdrop")?.unwrap_or(0.0),
        ..global(kin)
    })
}

fn read_gte(keys: &Keys<'_>, kin: RotaryKin) -> Result<RotaryConfig, ModelError> {
    for key in ["logn_attention_scale", "logn_attention_clip1"] {
        keys.never(key)?;
    }
    if keys.flag("pack_qkv")? == Some(false) {
        return Err(keys.refuse("pack_qkv", "true"));
    }
    keys.only("layer_norm_type", "layer_norm")?;
    keys.only("position_embedding_type", "rope")?;
    let hidden = keys.count("hidden_size")?.unwrap_or(768);
    let heads = keys.count("num_attention_heads")?.unwrap_or(12);
    let of_transformers = kin == RotaryKin::Gte;
    let (absent_base, absent_types) = if of_transformers { (160_000.0, 1) } else { (10_000.0, 1) };
    let (rotary_base, rotary_scaling) = rotary(keys, None, "rope_theta", absent_base)?;
    Ok(RotaryConfig {
        vocab_size: keys.count("vocab_size")?.unwrap_or(if of_transformers {
            250_048
        } else {
            30_528
        }),
        hidden,
        layers: keys.count("num_hidden_layers")?.unwrap_or(12),
        heads,
        kv_heads: heads,
        head_dim: hidden / heads.max(1),
        intermediate: keys.count("intermediate_size")?.unwrap_or(3072),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(8192),
        token_types: keys.count("type_vocab_size")?.unwrap_or(absent_types),
        activation: keys.activation("hidden_act", Activation::Gelu)?,
        norm_eps: keys.number("layer_norm_eps")?.unwrap_or(1e-12),
        norm_bias: true,
        qkv_bias: true,
        attention_output_bias: true,
        outer_bias: true,
        rotary_base,
        rotary_scaling,
        dropout: keys.number("hidden_dropout_prob")?.unwrap_or(0.1),
        attention_dropout: keys.number("attention_probs_dropout_prob")?.unwrap_or(0.0),
        ..global(kin)
    })
}

fn read_llama(keys: &Keys<'_>, kin: RotaryKin) -> Result<RotaryConfig, ModelError> {
    let is_qwen = matches!(kin, RotaryKin::Qwen2 | RotaryKin::Qwen3);
    let absent_hidden = if kin == RotaryKin::EuroBert { 768 } else { 4096 };
    let hidden = keys.count("hidden_size")?.unwrap_or(absent_hidden);
    let absent_heads = if kin == RotaryKin::EuroBert { 12 } else { 32 };
    let heads = keys.count("num_attention_heads")?.unwrap_or(absent_heads);
    let absent_kv_heads = if kin == RotaryKin::Mistral { 8 } else { heads };
    let kv_heads = keys.count("num_key_value_heads")?.unwrap_or(absent_kv_heads);
    let absent_dim = if kin == RotaryKin::Qwen3 { 128 } else { hidden / heads.max(1) };
    let [vocab_size, intermediate, layers, max_positions] = match kin {
        RotaryKin::EuroBert => [128_256, 3072, 12, 8192],
        RotaryKin::Mistral => [32_000, 14_336, 32, 131_072],
        RotaryKin::Qwen2 | RotaryKin::Qwen3 => [151_936, 22_016, 32, 32_768],
        _ => [32_000, 11_008, 32, 2048],
    };
    let layers = keys.count("num_hidden_layers")?.unwrap_or(layers);
    let window = match kin {
        RotaryKin::Mistral if !keys.says("sliding_window") => Some(4096),
        RotaryKin::Mistral => keys.count("sliding_window")?,
        _ if is_qwen && keys.flag("use_sliding_window")? == Some(true) => {
            return Err(keys.refuse("use_sliding_window", "false"));
        }
        _ => None,
    };
    if kin != RotaryKin::Mistral && pattern(keys, layers, (1, 0))? != (1, 0) {
        return Err(keys.refuse("layer_types", "full_attention in every layer"));
    }
    let is_causal = kin != RotaryKin::EuroBert
        && keys.flag("is_causal")?.unwrap_or(true)
        && !keys.flag("use_bidirectional_attention")?.unwrap_or(false);
    let (rotary_base, rotary_scaling) = rotary(keys, None, "rope_theta", 10_000.0)?;
    let bias = keys.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = keys.flag("mlp_bias")?.unwrap_or(false);
    let eps = if kin == RotaryKin::EuroBert { 1e-5 } else { 1e-6 };
    Ok(RotaryConfig {
        vocab_size: keys.count("vocab_size")?.unwrap_or(vocab_size),
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim: keys.count("head_dim")?.unwrap_or(absent_dim),
        intermediate: keys.count("intermediate_size")?.unwrap_or(intermediate),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(max_positions),
        activation: keys.activation("hidden_act", Activation::Silu)?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(eps),
        qkv_bias: bias || kin == RotaryKin::Qwen2,
        attention_output_bias: bias && kin != RotaryKin::Qwen2,
        inner_bias: mlp_bias,
        outer_bias: mlp_bias,
        is_causal,
        // Causal: that many tokens, the asking one among them. Both ways: that many on either side.
        window: window.map(|tokens| tokens.saturating_sub(usize::from(is_causal))),
        global_every: usize::from(window.is_none()),
        rotary_base,
        local_rotary_base: if window.is_some() { rotary_base } else { 10_000.0 },
        rotary_scaling,
        attention_dropout: keys.number("attention_dropout")?.unwrap_or(0.0),
        ..global(kin)
    })
}

fn read_gemma(keys: &Keys<'_>) -> Result<RotaryConfig, ModelError> {
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        keys.never(key)?;
    }
    let layers = keys.count("num_hidden_layers")?.unwrap_or(26);
    let every = keys.count("sliding_window_pattern")?.unwrap_or(6);
    let (global_every, first_global) = pattern(keys, layers, (every, every.saturating_sub(1)))?;
    let (rotary_base, rotary_scaling) =
        rotary(keys, Some("full_attention"), "rope_theta", 1_000_000.0)?;
    let of_local = keys.inner("rope_parameters")?;
    let of_local = of_local.map(|all| all.inner("sliding_attention")).transpose()?.flatten();
    if of_local.map(|local| scaling_of(&local)).transpose()?.flatten().is_some() {
        return Err(keys.refuse("rope_parameters", "no scaling in sliding_attention"));
    }
    let (local_rotary_base, _) =
        rotary(keys, Some("sliding_attention"), "rope_local_base_freq", 10_000.0)?;
    let looks_ahead = keys.flag("use_bidirectional_attention")?.unwrap_or(false);
    let is_causal = keys.flag("is_causal")?.unwrap_or(!looks_ahead);
    if is_causal == looks_ahead {
        // Transformers makes a mask of its own of either.
        return Err(keys.refuse("is_causal", "the contrary of `use_bidirectional_attention`"));
    }
    let tokens = keys.count("sliding_window")?.unwrap_or(4096);
    // Causal: that many tokens, the asking one among them. Both ways: half of them on either side.
    let window = if is_causal { tokens.saturating_sub(1) } else { tokens / 2 };
    let bias = keys.flag("attention_bias")?.unwrap_or(false);
    Ok(RotaryConfig {
        kin: RotaryKin::Gemma3,
        vocab_size: keys.count("vocab_size")?.unwrap_or(262_208),
        hidden: keys.count("hidden_size")?.unwrap_or(2304),
        layers,
        heads: keys.count("num_attention_heads")?.unwrap_or(8),
        kv_heads: keys.count("num_key_value_heads")?.unwrap_or(4),
        head_dim: keys.count("head_dim")?.unwrap_or(256),
        intermediate: keys.count("intermediate_size")?.unwrap_or(9216),
        max_positions: keys.count("max_position_embeddings")?.unwrap_or(131_072),
        activation: keys.activation("hidden_activation", Activation::GeluTanh)?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(1e-6),
        qkv_bias: bias,
        attention_output_bias: bias,
        is_causal,
        window: Some(window),
        global_every,
        first_global,
        rotary_base,
        local_rotary_base,
        rotary_scaling,
        score_dim: Some(keys.count("query_pre_attn_scalar")?.unwrap_or(256)),
        attention_dropout: keys.number("attention_dropout")?.unwrap_or(0.0),
        ..RotaryConfig::default()
    })
}
