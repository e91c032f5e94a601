// A real OpenID provider on loopback: openid.mjs PORT OPTIONS. Whoever signs in, with any password, is who they claim to be.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { client, ...options } = JSON.parse(process.argv[3]);
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const provider = new Provider(`http://127.0.0.1:${process.argv[2]}`, {
  clients: [client],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  findAccount: (_, login) => ({
    accountId: login,
    claims: () => ({ sub: login, preferred_username: `${login}@office`, groups: ["soc"] }),
  }),
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", kid: String(Date.now()) }] },
  cookies: { keys: ["only for tests"] },
  ...options,
});
createServer(provider.callback()).listen(process.argv[2], "127.0.0.1", () => process.stdout.write("ready\n"));
