"""Speaks for model-signing of the OpenSSF: reads one JSON request a line, answers with one JSON line each."""

import json
import os
import pathlib
import resource
import sys
import time

from model_signing import hashing, signing, verifying


def hashing_of(request):
    config = hashing.Config().set_allow_symlinks(request.get("allow_symlinks", False))
    algorithm = request.get("hash", "sha256")
    ignore = [pathlib.Path(path) for path in request.get("ignore", [])]
    symlinks = request.get("allow_symlinks", False)
    if "shard_size" in request:
        config.use_shard_serialization(
            hashing_algorithm=algorithm,
            shard_size=request["shard_size"],
            allow_symlinks=symlinks,
        )
    else:
        config.use_file_serialization(hashing_algorithm=algorithm, allow_symlinks=symlinks)
    return config.set_ignored_paths(paths=ignore, ignore_git_paths=True)


def sign(request):
    config = signing.Config().set_hashing_config(hashing_of(request))
    if "certificate" in request:
        config.use_certificate_signer(
            private_key=request["key"],
            signing_certificate=request["certificate"],
            certificate_chain=request["chain"],
        )
    else:
        config.use_elliptic_key_signer(private_key=request["key"])
    config.sign(pathlib.Path(request["model"]), pathlib.Path(request["signature"]))


def verify(request):
    config = verifying.Config()
    if "identity" in request:
        config.use_sigstore_verifier(
            identity=request["identity"],
            oidc_issuer=request["issuer"],
            trust_config=pathlib.Path(request["trust_config"]),
        )
    elif "ca" in request:
        config.use_certificate_verifier(certificate_chain=request["ca"])
    else:
        config.use_elliptic_key_verifier(public_key=request["public_key"])
    if not request.get("guess", False):
        config.set_hashing_config(hashing_of(request))
    config.set_ignore_unsigned_files(request.get("ignore_unsigned", False))
    config.verify(pathlib.Path(request["model"]), pathlib.Path(request["signature"]))


def answer(request):
    started = time.perf_counter()
    try:
        {"sign": sign, "verify": verify}[request["op"]](request)
        outcome = {"ok": True}
    except Exception as error:
        outcome = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**outcome, "seconds": time.perf_counter() - started, "peak_kib": peak}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
