// Model names -> places on disk. Never downloads.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kv {

// Accepts a folder, a .gguf file, a name in the model folder (KVENGINE_MODELS, then ./models, then
// ../models of the program's own folder, then the data folder of the user) or a hub id org/name, looked up in the Hugging Face cache
// (HF_HUB_CACHE, HF_HOME/hub,
// ~/.cache/huggingface/hub; refs/main -> snapshots/<commit>; org/name@revision takes another
// branch, tag or commit).
// Throws Error(kData) that lists every place it looked in and the `kvengine pull` command that
// would fetch it.
std::filesystem::path find_model(const std::string& name);

// The same for a name written in a file of `folder`: first a path relative to it, where a model lies
// there.
std::filesystem::path find_model_beside(const std::string& name,
                                        const std::filesystem::path& folder);

// Where `pull` puts models: KVENGINE_MODELS if set, else the user's data folder
// (XDG_DATA_HOME/kvengine/models).
std::filesystem::path model_folder();

// Names that find_model would accept without a path, sorted.
std::vector<std::string> known_models();

}  // namespace kv
