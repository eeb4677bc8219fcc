"""moto's server, with two things that it lacks: MessageType DIGEST of Sign, and the words of AccessDeniedException."""
import json
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms import exceptions
from moto.kms import utils as kms
from moto.kms.responses import KmsResponse
from moto.server import main

asked = threading.local()
sign_response = KmsResponse.sign
sign_message = kms.ECDSAPrivateKey.sign
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def respond(self):
    asked.digest = self._get_param("MessageType") == "DIGEST"
    return sign_response(self)


def sign(self, message, signing_algorithm):
    if not asked.digest:
        return sign_message(self, message, signing_algorithm)
    algorithm = HASHES[signing_algorithm[-3:]]()
    return self.private_key.sign(message, ec.ECDSA(utils.Prehashed(algorithm)))


def denied(self, message):
    super(exceptions.AccessDeniedException, self).__init__("AccessDeniedException", message)
    self.description = json.dumps({"__type": "AccessDeniedException", "message": message})


exceptions.AccessDeniedException.__init__ = denied
KmsResponse.sign = respond
kms.ECDSAPrivateKey.sign = sign
main()
