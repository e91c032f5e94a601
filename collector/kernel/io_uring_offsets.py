"""Struct offsets of io_uring's requests in the running kernel.

A kernel may be built without io_uring, and its internals change often. If anything is missing, io_uring is left out,
the reason is reported, and everything else works.
"""

from dataclasses import dataclass

from collector.kernel.btf import Btf

_MEMBERS = {
    "REQ_OPCODE": "io_kiocb.opcode",
    "REQ_FLAGS": "io_kiocb.flags",
    "REQ_USER_DATA": "io_kiocb.cqe.user_data",
    "REQ_FD": "io_kiocb.cqe.fd",
    "REQ_CTX": "io_kiocb.ctx",
    "REQ_CREDS": "io_kiocb.creds",
    "REQ_ASYNC_DATA": "io_kiocb.async_data",
    "OPEN_DFD": "io_open.dfd",
    "OPEN_FILENAME": "io_open.filename",
    "OPEN_HOW": "io_open.how",
    "OPEN_SLOT": "io_open.file_slot",
    "UNLINK_DFD": "io_unlink.dfd",
    "UNLINK_FLAGS": "io_unlink.flags",
    "UNLINK_FILENAME": "io_unlink.filename",
    "MKDIR_DFD": "io_mkdir.dfd",
    "MKDIR_MODE": "io_mkdir.mode",
    "MKDIR_FILENAME": "io_mkdir.filename",
    "RENAME_OLD_DFD": "io_rename.old_dfd",
    "RENAME_NEW_DFD": "io_rename.new_dfd",
    "RENAME_OLDPATH": "io_rename.oldpath",
    "RENAME_NEWPATH": "io_rename.newpath",
    "RENAME_FLAGS": "io_rename.flags",
    "LINK_OLD_DFD": "io_link.old_dfd",
    "LINK_NEW_DFD": "io_link.new_dfd",
    "LINK_OLDPATH": "io_link.oldpath",
    "LINK_NEWPATH": "io_link.newpath",
    "LINK_FLAGS": "io_link.flags",
    "FTRUNCATE_LENGTH": "io_ftrunc.len",
    "FALLOCATE_MODE": "io_sync.mode",
    "XATTR_NAME": "io_xattr.ctx.kname",
    "XATTR_FLAGS": "io_xattr.ctx.flags",
    "XATTR_FILENAME": "io_xattr.filename",
    "SOCKET_OP_DOMAIN": "io_socket.domain",
    "SOCKET_OP_TYPE": "io_socket.type",
    "SOCKET_OP_PROTOCOL": "io_socket.protocol",
    "SOCKET_OP_SLOT": "io_socket.file_slot",
    "ACCEPT_FLAGS": "io_accept.flags",
    "ACCEPT_IOU_FLAGS": "io_accept.iou_flags",
    "ACCEPT_SLOT": "io_accept.file_slot",
    "CONNECT_LENGTH": "io_connect.addr_len",
    "BIND_LENGTH": "io_bind.addr_len",
    "LISTEN_BACKLOG": "io_listen.backlog",
    "SEND_BUFFER": "io_sr_msg.buf",
    "SEND_LENGTH": "io_sr_msg.len",
    "SEND_FLAGS": "io_sr_msg.msg_flags",
    "ASYNC_ADDRESS": "io_async_msghdr.addr",
    "ASYNC_NAME": "io_async_msghdr.msg.msg_name",
    "ASYNC_NAME_LENGTH": "io_async_msghdr.msg.msg_namelen",
    "RING_NODES": "io_ring_ctx.file_table.data.nodes",
    "RING_NODES_NUMBER": "io_ring_ctx.file_table.data.nr",
    "NODE_FILE": "io_rsrc_node.file_ptr",
}
_FLAGS = {
    "REQ_CQE_SKIP": "REQ_F_CQE_SKIP_BIT",
    "REQ_CREDS": "REQ_F_CREDS_BIT",
    "REQ_FIXED_FILE": "REQ_F_FIXED_FILE_BIT",
}
_FIRST_OF = {"io_uring_submit_req": 2, "io_uring_complete": 4, "io_uring_cqe_overflow": 6}
"""Each tracepoint's number of parameters, including the implicit first one."""

TRACEPOINTS = {
    "on_uring_complete": "io_uring_complete",
    "on_uring_overflow": "io_uring_cqe_overflow",
    "on_uring_submit": "io_uring_submit_req",
}
"""By function of the program; completions first, so that no submission is sent without its completion."""


@dataclass(frozen=True, slots=True)
class UringLayout:
    """Preprocessor definitions, or the reason why there are none."""

    definitions: dict[str, int]
    lacking: str = ""


def uring_layout(btf: Btf) -> UringLayout:
    """Return where a kernel stores the members of io_uring's requests."""
    found = {"URING": 1}
    try:
        for tracepoint, parameters in _FIRST_OF.items():
            if btf.parameters(f"btf_trace_{tracepoint}") != parameters:
                return UringLayout({}, f"this kernel's tracepoint {tracepoint} has unexpected parameters")
        for name, path in _MEMBERS.items():
            found[f"O_{name}"] = btf.offset(path)
        for name, enumerator in _FLAGS.items():
            found[f"N_{name}"] = btf.enumerator(enumerator)
    except KeyError as missing:
        return UringLayout({}, f"this kernel has no {str(missing.args[0]).removeprefix('btf_trace_')}")
    return UringLayout(found)
