// SPDX-License-Identifier: GPL-2.0-or-later
// The nodes of Corosync's nodelist, and what they are called there. Blocks while Corosync does not answer; used on a worker only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clogd/core/event.hh"

namespace clogd::io {

using NodeNames = std::map<NodeId, std::vector<std::string>>;  // its name, if it has one, then its addresses

std::optional<NodeNames> read_node_names();  // nullopt if Corosync cannot be asked

}  // namespace clogd::io
