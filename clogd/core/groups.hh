// SPDX-License-Identifier: GPL-2.0-or-later
// Which group of an array's paths the cluster uses, and who may switch the array to another one.
//
// An array with two controllers serves a volume through one of them at a time, or serves it better through one. Nodes that each
// switch it as they like drag it back and forth. So the array is switched by one node at a time, and only if that is needed or
// everybody wants it:
//   - the group in use is reached by fewer nodes than another one, and a node that wants the other one reaches it, or
//   - every node that reaches anything wants, and reaches, the same other group.
// Each switch of the first kind raises the number of nodes that are served, and one of the second kind leaves nobody behind and nobody who
// wants it undone. So, as long as no node changes its mind or loses a path, switching ends after as many turns as there are nodes.
// A node that does not reach the group in use uses another one as a guest, without switching the array (dm-mpath/cluster.c).
#pragma once

#include <map>
#include <optional>
#include <set>

#include "proto/channel.h"
#include "proto/wire.hh"

namespace clogd {

using proto::NodeId;
using proto::wire::GroupVoice;

struct Voice {  // of one member
    GroupVoice said;
    bool spoke = false;
    bool reaches(uint8_t group) const { return group < CLOG_GROUPS_MAX && (said.reach >> group & 1); }
};

struct Groups {  // replicated, as a part of the log's state
    uint8_t in_use = GroupVoice::kNone;
    uint8_t target = GroupVoice::kNone;  // of the holder
    NodeId holder = 0;                   // may switch the array now; 0: nobody
    uint32_t turn = 0;                   // one more with each grant
};

struct Grant {
    NodeId node = 0;
    uint8_t group = 0;
};
// The switch that is due, if any, while nobody holds a grant; one of `able` may do it. Equal arguments give equal answers on every node.
std::optional<Grant> choose_switch(const std::map<NodeId, Voice>& voices, const std::set<NodeId>& able, uint8_t in_use);

}  // namespace clogd
