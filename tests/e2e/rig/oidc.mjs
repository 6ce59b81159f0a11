// A provider of OpenID Connect: `node oidc.mjs FOLDER PORT`. Whoever logs in is who they say.
import { pathToFileURL } from "node:url";

const [folder, port] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "portolan",
    client_secret: "not/so+secret",
    redirect_uris: ["https://registry.test/sign-in/oidc/callback"],
  }],
  claims: { openid: ["sub"], profile: ["preferred_username"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: `${id}-1`, preferred_username: id }),
  }),
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  // Nobody is asked whether we may know their name.
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

const page = `<!doctype html><html lang="en"><title>Log in</title><link rel="icon" href="data:,">
<main><h1>Log in at the provider</h1><form method="post"><label for="name">User</label><input id="name" name="name">
<button>Log in</button></form></main></html>`;

provider.use(async (ctx, next) => {
  if (ctx.path === "/favicon.ico") {
    ctx.status = 204;
    return;
  }
  if (!ctx.path.startsWith("/login/")) return next();
  if (ctx.method === "GET") {
    ctx.type = "html";
    ctx.body = page;
    return;
  }
  let body = "";
  for await (const part of ctx.req) body += part;
  ctx.respond = false;
  const accountId = new URLSearchParams(body).get("name");
  await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId } });
});

provider.listen(Number(port), "127.0.0.1");
